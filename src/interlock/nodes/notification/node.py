"""Says something to whoever watches."""

from __future__ import annotations

from interlock.core.node_type import NodeType
from interlock.nodes.schema import choice, parameters, text
from interlock.ports.node import Attempt, Done, NodeFailed, Services

_LEVELS = ("info", "success", "warning", "error")


class Notification:
    """Satisfies ``ports/node.Node``."""

    type = NodeType(
        name="notification",
        title="Notification",
        description="Shows a message to whoever watches the execution, and gives it back.",
        category="human",
        schema=parameters(
            {
                "message": text("What is said."),
                "level": choice("How it is meant.", *_LEVELS, default="info"),
            },
            required=("message",),
        ),
        examples=(
            {
                "parameters": {"message": "Order accepted", "level": "success"},
                "output": {"message": "Order accepted", "level": "success"},
            },
        ),
    )

    def run(self, attempt: Attempt, services: Services) -> Done:
        message = str(attempt.parameters.get("message", ""))
        level = str(attempt.parameters.get("level", "info"))
        if level not in _LEVELS:
            raise NodeFailed("PARAMETER_INVALID", f"level must be one of {', '.join(_LEVELS)}, not {level[:40]!r}")
        services.report(message=message, data={"level": level})
        component = {"type": "chat_message", "props": {"content": message, "level": level}}
        return Done(output={"message": message, "level": level}, ui_schema={"components": [component]})


NODE = Notification()
