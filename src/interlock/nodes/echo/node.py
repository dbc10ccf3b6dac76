"""Gives back what it gets: to try a workflow out, and for the first test of a new server."""

from __future__ import annotations

import json
from typing import Any

from interlock.core.node_type import NodeType
from interlock.nodes.schema import anything, parameters
from interlock.ports.node import Attempt, Done, Services


class Echo:
    """Satisfies ``ports/node.Node``."""

    type = NodeType(
        name="echo",
        title="Echo",
        description="Gives back its input, writes it to the blackboard as `echo_result` and shows it as a text.",
        schema=parameters(
            {"input": anything("The value to give back. Without it: the node's data; in a flow, all parameters.")}
        ),
        data_parameter="input",
        examples=({"parameters": {"input": "x"}, "output": {"echo": "x"}},),
    )

    def run(self, attempt: Attempt, services: Services) -> Done:
        value = attempt.parameters.get("input", attempt.parameters)
        return Done(output={"echo": value}, blackboard={"echo_result": value}, ui_schema=_shown(value))


def _shown(value: Any) -> dict[str, Any]:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return {"components": [{"type": "markdown", "props": {"content": f"Echo: {text}"}}]}


NODE = Echo()
