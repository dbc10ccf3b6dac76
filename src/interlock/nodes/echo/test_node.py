from __future__ import annotations

from typing import Any

import pytest

from interlock.nodes.echo.node import NODE
from interlock.nodes.testing import run_node
from interlock.ports.node import Done


def _echo(parameters: dict[str, Any]) -> Done:
    outcome = run_node(NODE, parameters)
    assert isinstance(outcome, Done)
    return outcome


@pytest.mark.parametrize("value", ["x", 0, None, [1, {"a": None}], {"input": 2}])
def test_gives_back_its_input_and_writes_it_to_the_blackboard(value: Any) -> None:
    outcome = _echo({"input": value})
    assert outcome.output == {"echo": value}
    assert outcome.blackboard == {"echo_result": value}


def test_without_an_input_it_gives_back_all_parameters() -> None:
    assert _echo({"a": 1, "b": 2}).output == {"echo": {"a": 1, "b": 2}}


@pytest.mark.parametrize(("value", "shown"), [("x", "Echo: x"), ({"a": "ä"}, 'Echo: {"a": "ä"}')])
def test_shows_the_input_as_a_text(value: Any, shown: str) -> None:
    assert _echo({"input": value}).ui_schema == {"components": [{"type": "markdown", "props": {"content": shown}}]}
