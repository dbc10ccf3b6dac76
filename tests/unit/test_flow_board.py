"""What the states of a flow can read: keys as they are written, results of states, names of the house."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from interlock.core.commands import SignalKind
from interlock.core.engine.expressions import ExpressionError, compile_template
from interlock.core.engine.expressions.key_path import read_path
from interlock.core.engine.flow.blackboard_names import blackboard_names
from interlock.core.engine.flow.board import board_of
from interlock.core.events import ExecutionStarted
from interlock.core.workflow import FlowDefinition
from timing import least_cpu_seconds
from unit.engine_driver import Driver, stored
from unit.test_engine_flow import flow, to

BOARD = {
    "result:a": {"echo": 7},
    "result:my.state": "dotted",
    "my-key": "mine",
    "key": {"a": [{"b": "deep"}]},
    "report.pdf": "a file",
    "total": 9,
    "discount": 2,
    "a__b": "two lines",
}


def rendered(text: str, board: dict[str, Any] = BOARD) -> Any:
    """A text in the parameters of a flow state."""
    template = compile_template(text, extra_roots=blackboard_names(text))
    return template.render({root: board.get(root) for root in template.roots})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{result:a.echo}}", 7),
        ("{{ result:a }}", {"echo": 7}),
        ("{{result:my.state}}", "dotted"),
        ("{{my-key}}", "mine"),
        ("{{key.a.0.b}}", "deep"),
        ("{{key.a[0].b}}", "deep"),
        ("{{report.pdf}}", "a file"),
        ("{{a__b}}", "two lines"),
        ("<{{my-key}}|{{result:a.echo}}>", "<mine|7>"),
        ("{{nothing-here}}", None),
        ("{{result:b.echo}}", None),
        ("{{key.a.5.b}}", None),
    ],
)
def test_a_key_is_read_as_it_is_written(text: str, value: Any) -> None:
    assert rendered(text) == value


def test_what_is_no_key_is_still_an_expression() -> None:
    assert rendered("{{total-discount}}") == 7
    assert rendered("{{total-discount}}", {**BOARD, "total-discount": "its own"}) == "its own"
    assert rendered("{{ total - discount }}") == 7
    with pytest.raises(ExpressionError):
        rendered("{{total-missing}}")


@pytest.mark.parametrize("text", ["{{ $json.a.0 }}", "{{a..b}}", "{{a:}}x{{", "{{a b}}"])
def test_what_is_neither_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        compile_template(text, extra_roots=blackboard_names(text))


def test_a_graph_knows_no_keys() -> None:
    with pytest.raises(ExpressionError):
        compile_template("{{result:a.echo}}")


def test_paths_are_found_from_the_longest_key_on() -> None:
    assert read_path({"a.b": 1, "a": {"b": 2, "c": [3]}}, "a.b") == 1
    assert read_path({"a.b": 1, "a": {"b": 2, "c": [3]}}, "a.c.0") == 3
    assert read_path({"a": {"b": None}}, "a.b", "absent") is None
    assert read_path({"a": {"b": None}}, "a.c", "absent") == "absent"


def reading(text: Any) -> FlowDefinition:
    return flow(
        "ask read end",
        to("ask", "GO", "read"),
        to("read", "STEP_DONE", "end"),
        nodes={"read": "echo"},
        parameters={"read": {"input": text}},
        user_input_states=("ask",),
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{_user_payload.q}}", 5),
        ("{{_params.top}}", 1),
        ("{{_current_state}}", "read"),
        ("{{_fsm_state}}", "read"),
        ("{{_session_state}}", "running"),
        ("{{_abort_reason}}", None),
    ],
)
def test_states_read_the_names_of_the_house(text: str, value: Any) -> None:
    driver = Driver(reading(text), {"top": 1})
    driver.signal(SignalKind.EVENT, "GO", {"q": 5})
    assert driver.execution.tasks["read"].input["input"] == value
    driver.check_fold()


def test_nodes_read_the_same_wherever_they_run() -> None:
    driver = Driver(reading("x"), {"top": 1})
    driver.signal(SignalKind.EVENT, "GO", {"q": 5})
    driver.succeed("read", {"echo": "x"}, blackboard={"echo_result": "x", "_params": "forged"})
    here = board_of(driver.execution, "inline", "inline")
    away = board_of(driver.execution, "process", "inline")
    assert dict(here) == away
    assert here["result:read"] == {"echo": "x"}
    assert here["_params"] == {"top": 1}
    assert "result:read" not in board_of(driver.execution, "process", "process")


def test_a_log_without_what_it_was_called_for_is_folded_as_before() -> None:
    driver = Driver(reading("{{_flow_id}}"))
    assert driver.of(ExecutionStarted)[0].calling == {}
    assert stored(driver.log[0]) == driver.log[0]
    driver.signal(SignalKind.EVENT, "GO")
    assert driver.execution.tasks["read"].input["input"] is None


HUGE = ".".join("a" * 65_536)  # 128 KiB, as deep as it can be written
LONGEST = "result:" + ".".join("a" * 32)


def test_a_path_of_any_length_is_looked_up_at_once() -> None:
    board = {"a": {"a": 1}, HUGE: 2}
    tracemalloc.start()
    assert read_path(board, HUGE) == 2
    assert read_path(board, HUGE + ".b", "absent") == "absent"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20
    assert least_cpu_seconds(lambda: read_path(board, HUGE + ".b"), enough=0.1) < 0.1


def test_the_longest_names_of_states_are_read_with_what_is_inside() -> None:
    assert rendered(f"{{{{{LONGEST}.echo}}}}", {LONGEST: {"echo": 7}}) == 7
    assert read_path({LONGEST: {"echo": 7}}, f"{LONGEST}.echo") == 7


@pytest.mark.parametrize("path", [".".join("a" * 34), ".".join("a-" * 34), "a-" * 257, ".".join("a" * 2_000)])
def test_a_placeholder_with_a_path_beyond_all_keys_is_refused(path: str) -> None:
    text = f"{{{{{path}}}}}"
    with pytest.raises(ExpressionError, match="a path has at most 32 dots and 512 characters"):
        compile_template(text, extra_roots=blackboard_names(text))


def test_what_is_compiled_of_the_largest_paths_stays_small() -> None:
    paths = [".".join([*"a" * 32, f"b{number}-" + "c" * 440]) for number in range(100)]
    tracemalloc.start()
    template = compile_template([f"{{{{{path}}}}}" for path in paths], extra_roots={"a"})
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert kept < 4 << 20
    assert template.render({"a": None}) == [None] * 100
