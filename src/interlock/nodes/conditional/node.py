"""Compares a value of the blackboard and chooses the event its flow goes on with."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from interlock.core.engine.expressions.key_path import read_path
from interlock.core.node_type import NodeType
from interlock.nodes.schema import anything, choice, parameters, text
from interlock.ports.node import Attempt, Done, NodeFailed, Services

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "lt": operator.lt,
    "ge": operator.ge,
    "le": operator.le,
}
_EXISTS = "exists"
_MISSING = object()


class Conditional:
    """Satisfies ``ports/node.Node``."""

    type = NodeType(
        name="conditional",
        title="Conditional",
        description=(
            "Compares the value at `key` with `value` and raises `true_event` or `false_event` in its flow. The key is "
            "one of the blackboard, or with dots a place inside one; without such a key it is a parameter of the "
            "session. Values that cannot be compared are not equal, not greater and not less."
        ),
        category="control",
        schema=parameters(
            {
                "key": text("What to compare, such as `amount` or `order.total`.", minLength=1),
                "operator": choice("How; `exists` needs no value.", *_OPERATORS, _EXISTS, default="eq"),
                "value": anything("What to compare with."),
                "true_event": text("The event if it holds.", default="CONDITION_TRUE"),
                "false_event": text("The event if it does not.", default="CONDITION_FALSE"),
            },
            required=("key",),
        ),
        examples=(
            {
                "parameters": {
                    "key": "amount",
                    "operator": "gt",
                    "value": 100,
                    "true_event": "BIG",
                    "false_event": "SMALL",
                },
            },
        ),
    )

    def run(self, attempt: Attempt, services: Services) -> Done:
        told = attempt.parameters
        found = _find(str(told["key"]) if "key" in told else "", attempt)
        is_met = _holds(str(told.get("operator", "eq")), found, told.get("value"))
        event = told.get("true_event", "CONDITION_TRUE") if is_met else told.get("false_event", "CONDITION_FALSE")
        return Done(output={"condition_met": is_met, "chosen_event": str(event)}, raised=(str(event),))


def _find(key: str, attempt: Attempt) -> Any:
    """The value of a key; of the blackboard first, then of the session's parameters."""
    own = Conditional.type.schema["properties"]
    given = {name: value for name, value in attempt.parameters.items() if name not in own}
    found = read_path(attempt.blackboard, key, _MISSING)
    return found if found is not _MISSING else read_path(given, key.removeprefix("_params."), _MISSING)


def _holds(how: str, found: Any, value: Any) -> bool:
    if how == _EXISTS:
        return found is not _MISSING
    if how not in _OPERATORS:
        known = ", ".join([*_OPERATORS, _EXISTS])
        raise NodeFailed("PARAMETER_INVALID", f"operator must be one of {known}, not {how[:40]!r}")
    if found is _MISSING:
        return how == "ne"
    if how not in ("eq", "ne") and not _is_comparable(found, value):
        return False
    return _OPERATORS[how](found, value)


def _is_comparable(first: Any, second: Any) -> bool:
    """Whether one may be less than the other: two numbers or two texts."""
    if isinstance(first, bool) or isinstance(second, bool):
        return False
    if isinstance(first, str):
        return isinstance(second, str)
    return isinstance(first, int | float) and isinstance(second, int | float)


NODE = Conditional()
