"""Calls a Python function that an installed package has registered; nothing else can be called."""

from __future__ import annotations

from interlock.core.node_type import NodeType
from interlock.nodes.python.call import call_function
from interlock.nodes.python.functions import GROUP, find_function
from interlock.nodes.schema import anything, parameters, text
from interlock.ports.node import Attempt, Done, Services


class Python:
    """Satisfies ``ports/node.Node``. Its place is a child process, so functions may block, crash and be killed."""

    type = NodeType(
        name="python",
        title="Python function",
        description=(
            "Calls a function that an installed package registers under a name in the entry-point group "
            f"`{GROUP}`, in a process of its own. The function gets the arguments, and if it takes a second one a "
            "`context` with `effect_key` (in a call for several tasks `effect_keys`), `attempt` and "
            "`report(progress, message, data)`. It may be async. What it returns must be JSON (`RESULT_NOT_JSON` "
            "otherwise). An exception fails the attempt with the name of its type as code, and is retryable. An "
            "unknown name fails with `FUNCTION_UNKNOWN`. To register one, write in "
            f'the package\'s pyproject.toml `[project.entry-points."{GROUP}"]` and below it '
            '`score_order = "my_package.scoring:score_order"`, and install it where the server runs.'
        ),
        category="code",
        place="process",
        schema=parameters(
            {
                "function": text("The name the function is registered under."),
                "arguments": anything(
                    "What the function gets. Without it: the node's data; in a flow, all parameters."
                ),
            },
            required=("function",),
        ),
        data_parameter="arguments",
        examples=({"parameters": {"function": "score_order", "arguments": {"order": "{{ $json.order }}"}}},),
    )

    async def run(self, attempt: Attempt, services: Services) -> Done:
        given = attempt.parameters
        function = find_function(given.get("function"))
        rest = {key: value for key, value in given.items() if key != "function"}
        return Done(output=await call_function(function, given.get("arguments", rest), attempt, services))


NODE = Python()
