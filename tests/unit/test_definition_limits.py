"""Hostile sizes are refused, and the largest allowed definitions are checked, in well under a second."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from timing import least_cpu_seconds
from unit.definition_house import nodes, places, validate

SECONDS = 1.5  # of processor time; less than one on a machine that has nothing else to do


def echoes(count: int) -> list[dict[str, Any]]:
    return [{"id": f"n{index}", "type": "echo"} for index in range(count)]


def chain(count: int) -> list[str]:
    return [f"n{index} -> n{index + 1}" for index in range(count - 1)]


def forward(nodes: int, count: int) -> list[dict[str, Any]]:
    chance = random.Random(7)
    ends = [sorted(chance.sample(range(nodes), 2)) for _ in range(count)]
    return [{"from": f"n{source}", "to": f"n{target}"} for source, target in ends]


def mapping(text: str) -> dict[str, Any]:
    return nodes({"id": "a", "type": "transform", "parameters": {"mapping": text}})


def nested(kind: Callable[[Any], Any]) -> Any:
    value: Any = 1
    for _ in range(100_000):
        value = kind(value)
    return value


def loops(connections: list[Any]) -> dict[str, Any]:
    found = [{"id": f"n{index}", "type": "loop" if index < 100 else "echo"} for index in range(5000)]
    return {"nodes": found, "connections": connections}


STATES = [f"s{index}" for index in range(500)]


def fan_ins() -> dict[str, Any]:
    chance = random.Random(3)
    forks = [{"from": "s1", "event": "E", "to": chance.sample(STATES, 3)} for _ in range(2000)]
    joins = [{"from": chance.sample(STATES, 3), "to": "s2", "fan_in": True} for _ in range(2000)]
    back = [{"from": f"s{n}", "event": "B", "to": f"s{n - 1}"} for n in range(1, 500)]
    return {"states": STATES, "transitions": forks + joins + back}


REFUSED: list[tuple[str, Callable[[], Any], str]] = [
    ("100,000 nodes", lambda: {"nodes": echoes(100_000)}, "TOO_LARGE"),
    ("5,001 nodes", lambda: {"nodes": echoes(5001)}, "TOO_LARGE"),
    ("20,001 connections", lambda: {"nodes": echoes(2), "connections": chain(2) * 20_001}, "TOO_LARGE"),
    ("101 loops", lambda: {"nodes": [{"id": f"n{index}", "type": "map"} for index in range(101)]}, "TOO_LARGE"),
    ("an expression of 1 MB", lambda: mapping("{{ " + "a+" * 500_000 + "1 }}"), "EXPRESSION_ERROR"),
    ("1 MB of braces", lambda: mapping("{{" * 500_000), "EXPRESSION_ERROR"),
    ("1 MB of placeholders", lambda: mapping("{{ 1 }}" * 150_000), "TOO_LARGE"),
    (
        "1 MB of parentheses",
        lambda: {"nodes": [mapping("{{" + "(" * 4000)["nodes"][0] | {"id": f"a{n}"} for n in range(250)]},
        "EXPRESSION_ERROR",
    ),
    ("1,001 placeholders in one node", lambda: mapping("{{ 1 }}" * 1001), "TOO_LARGE"),
    (
        "1 MB of expressions",
        lambda: {
            "nodes": [mapping(f"{{{{ {n} + {'1+' * 120}1 }}}}")["nodes"][0] | {"id": f"a{n}"} for n in range(4000)]
        },
        "TOO_LARGE",
    ),
    ("objects of depth 100,000", lambda: mapping(nested(lambda value: {"a": value})), "TOO_DEEP"),
    ("lists of depth 100,000", lambda: mapping(nested(lambda value: [value])), "TOO_DEEP"),
    (
        "depth in every place",
        lambda: nodes({"id": "a"}, name=nested(lambda value: [value]), tags=nested(lambda value: [value])),
        "TYPE_WRONG",
    ),
    ("500,000 values", lambda: mapping([0] * 500_000), "TOO_LARGE"),
    (
        "a name of 1 MB",
        lambda: nodes({"id": "x" * 1_000_000, "type": "y" * 1_000_000, "z" * 1_000_000: 1}),
        "KEY_UNKNOWN",
    ),
    (
        "5,000 unknown types",
        lambda: {"nodes": [{"id": f"n{n}", "type": f"trnsform{n}"} for n in range(5000)]},
        "NODE_TYPE_UNKNOWN",
    ),
    (
        "20,000 loose ends",
        lambda: {"nodes": echoes(5000), "connections": [f"n{n}x -> n{n}y" for n in range(20_000)]},
        "CONNECTION_DANGLING",
    ),
    (
        "many circles",
        lambda: {
            "nodes": echoes(5000),
            "connections": chain(5000)
            + [f"n4999 -> n{n}" for n in range(4999)]
            + [f"n4998 -> n{n}" for n in range(4998)],
        },
        "CYCLE",
    ),
    (
        "5,001 transitions",
        lambda: {"states": STATES, "transitions": [{"from": "s0", "event": "E", "to": "s1"}] * 5001},
        "TOO_LARGE",
    ),
    ("501 states", lambda: {"states": [*STATES, "x"]}, "TOO_LARGE"),
    (
        "2.5 million sources",
        lambda: {"states": STATES, "transitions": [{"from": STATES, "event": "E", "to": "s1"}] * 5000},
        "TOO_LARGE",
    ),
    (
        "5,000 unknown states",
        lambda: {
            "states": STATES,
            "transitions": [{"from": f"x{n}", "event": "E", "to": f"y{n}"} for n in range(5000)],
        },
        "STATE_UNKNOWN",
    ),
    ("2,000 fan-ins of 2,000 forks", fan_ins, "TRANSITION_AMBIGUOUS"),
]


@pytest.mark.parametrize(("make", "code"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_hostile_sizes_are_refused_quickly(make: Callable[[], Any], code: str) -> None:
    source = make()
    assert least_cpu_seconds(lambda: places(source), enough=SECONDS) < SECONDS
    found = places(source)
    assert code in {found_code for found_code, _ in found}
    assert len(found) <= 501


LARGEST: list[tuple[str, Callable[[], Any]]] = [
    ("5,000 nodes in a row", lambda: {"nodes": echoes(5000), "connections": chain(5000)}),
    ("20,000 connections", lambda: {"nodes": echoes(5000), "connections": forward(5000, 20_000)}),
    (
        "100 loops in each other",
        lambda: loops(
            [{"from": f"n{n}", "to": f"n{n + 1}", "port": "iteration" if n < 100 else "result"} for n in range(4999)]
        ),
    ),
    (
        "500 states and 5,000 transitions",
        lambda: {
            "states": STATES,
            "transitions": [{"from": f"s{n % 500}", "event": f"E{n}", "to": f"s{n * 7 % 500}"} for n in range(5000)],
        },
    ),
    ("190,000 values", lambda: mapping([0] * 190_000)),
    (
        "expressions in every node",
        lambda: {"nodes": [mapping(f"{{{{ $json.v{n} }}}}")["nodes"][0] | {"id": f"n{n}"} for n in range(5000)]},
    ),
    ("1,000 placeholders in one node", lambda: mapping("{{ 1 }}" * 1000)),
]


@pytest.mark.parametrize("make", [case[1] for case in LARGEST], ids=[case[0] for case in LARGEST])
def test_the_largest_definitions_are_checked_quickly(make: Callable[[], Any]) -> None:
    source = make()
    assert least_cpu_seconds(lambda: validate(source), enough=SECONDS) < SECONDS
    assert validate(source).errors == ()


def test_a_report_ends_where_nobody_reads_on() -> None:
    errors = validate({"nodes": [{"id": f"n{n}", "type": "nope"} for n in range(5000)]}).errors
    assert len(errors) == 501
    assert errors[-1].code == "TOO_MANY_PROBLEMS"


def test_what_is_shown_of_large_values_is_small() -> None:
    source = {"x" * 100_000: 1, **nodes({"id": "y" * 100_000, "type": "z" * 100_000, "w" * 100_000: 1})}
    for problem in validate(source).errors:
        shown = (problem.message, problem.path, problem.hint, str(problem.value))
        assert all(len(text) < 1000 for text in shown)


def flow_of_warnings(count: int, **more: Any) -> dict[str, Any]:
    """A flow in which so many parameters are none of their node's."""
    states = [f"s{number}" for number in range(count // 20)]
    unknown = {f"p{number}": 1 for number in range(20)}
    return {
        "states": [*states, "end"],
        "state_node_map": dict.fromkeys(states, "transform"),
        "state_params": {state: {"template": "x", **unknown} for state in states},
        **more,
    }


def test_warnings_alone_never_refuse_a_definition() -> None:
    checked = validate(flow_of_warnings(600))
    assert checked.errors == ()
    assert len(checked.warnings) == 500


def test_errors_behind_many_warnings_are_still_shown() -> None:
    checked = validate(flow_of_warnings(600, timers={"s0": {"after": -1, "event": "GO"}}))
    assert {problem.code for problem in checked.errors} == {"OUT_OF_RANGE", "TIMER_WITHOUT_TRANSITION"}
    assert len(checked.errors) + len(checked.warnings) == 500
