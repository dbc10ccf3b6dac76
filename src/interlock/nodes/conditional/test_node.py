from __future__ import annotations

from typing import Any

import msgspec
import pytest

from interlock.nodes.conditional.node import NODE
from interlock.nodes.testing import KeptServices, make_attempt
from interlock.ports.node import Done, NodeFailed


def _run(parameters: dict[str, Any], blackboard: dict[str, Any] | None = None) -> Done:
    attempt = msgspec.structs.replace(make_attempt(NODE, parameters), blackboard=blackboard or {})
    return NODE.run(attempt, KeptServices())


@pytest.mark.parametrize(
    ("operator", "value", "is_met"),
    [
        ("eq", 5, True),
        ("ne", 5, False),
        ("gt", 4.5, True),
        ("lt", 5, False),
        ("ge", 5, True),
        ("le", 4, False),
        ("gt", "4", False),
        ("lt", None, False),
        ("exists", None, True),
    ],
)
def test_compares_a_value_of_the_blackboard(operator: str, value: Any, is_met: bool) -> None:
    outcome = _run({"key": "n", "operator": operator, "value": value}, {"n": 5})
    assert outcome.output["condition_met"] is is_met


def test_raises_the_event_it_chose() -> None:
    told = {"key": "order.total", "operator": "gt", "value": 1, "true_event": "BIG", "false_event": "SMALL"}
    assert _run(told, {"order": {"total": 2}}).raised == ("BIG",)
    assert _run(told, {"order": {"total": 1}}).raised == ("SMALL",)
    assert _run({"key": "x"}).output == {"condition_met": False, "chosen_event": "CONDITION_FALSE"}


def test_a_key_that_is_not_on_the_blackboard_is_a_parameter_of_the_session() -> None:
    assert _run({"key": "amount", "value": 3, "amount": 3}).output["condition_met"] is True
    assert _run({"key": "value", "value": 3, "operator": "exists"}).output["condition_met"] is False


def test_a_missing_value_is_unequal_to_everything() -> None:
    assert _run({"key": "x", "operator": "ne", "value": 1}).output["condition_met"] is True
    assert _run({"key": "x", "operator": "exists"}).output["condition_met"] is False


def test_an_unknown_operator_fails() -> None:
    with pytest.raises(NodeFailed, match="operator must be one of"):
        _run({"key": "x", "operator": "like"}, {"x": 1})
