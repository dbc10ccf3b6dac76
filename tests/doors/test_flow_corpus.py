"""Flows that mean harm are refused in words, with the place, in less than a second; nothing of them is run or kept."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from doors.tempo_house import Tempo
from figures import Note
from timing import answer_and_cpu_seconds

MOST = 1.0
"""Seconds of CPU."""
LAUGHS = "".join(f"l{level}: &l{level} [{', '.join([f'*l{level - 1}'] * 9)}]\n" for level in range(1, 10))
HEAD = "name: x\ninitial_state: a\n"
STATES = "states: [a, b, c]\n"

CORPUS: dict[str, str] = {
    "billion laughs": "l0: &l0 [lol, lol, lol]\n" + LAUGHS + "states: *l9",
    "laughs by merge": "a: &a {x: 1}\nb: &b {<<: *a}\nstates: [{<<: [*a, *b]}]",
    "quadratic aliases": "a: &a " + "x" * 50_000 + "\nstates: [" + "*a, " * 2_000 + "*a]",
    "an alias of itself": "states: &s [*s]",
    "python object": 'states: !!python/object/apply:os.system ["touch /tmp/interlock-was-here"]',
    "python name": "states: !!python/name:os.system",
    "python module": "x: !!python/module:subprocess\nstates: [a]",
    "python tuple": "states: !!python/tuple [a, b]",
    "own tag": "states: !evil [a]",
    "binary": "states: !!binary aGVsbG8=",
    "duplicate keys": "states: [a]\nstates: [b]",
    "duplicate keys inside": "states: [a]\nstate_node_map: {a: builtin://echo, a: builtin://transform}",
    "duplicate keys by spelling": 'states: [a]\n"states": [b]',
    "two documents": "states: [a]\n---\nstates: [b]",
    "depth 100,000": "states: " + "[" * 100_000,
    "depth by indents": "\n".join(" " * depth + "a:" for depth in range(500)),
    "100,000 states": "states: [" + ", ".join(f"s{number}" for number in range(30_000)) + "]",
    "100,000 transitions": HEAD + STATES + "transitions:\n" + "- {from: a, event: E, to: b}\n" * 9_000,
    "100,000 keys": "\n".join(f"k{number}: 1" for number in range(20_000)),
    "a cycle without an end": HEAD + "states: [a]\ntransitions: [{from: a, event: STEP_DONE, to: a}]",
    "a state that is not there": HEAD + STATES + "transitions: [{from: a, event: E, to: nowhere}]",
    "a start that is not there": STATES + "initial_state: nowhere",
    "a node that is not there": STATES + "state_node_map: {a: builtin://nothing}",
    "a node of another protocol": STATES + "state_node_map: {a: 'file:///etc/passwd'}",
    "a shell as node": STATES + "state_node_map: {a: 'builtin://../../bin/sh'}",
    "names in other scripts": "states: [\u0430, a\u0300, \u202eb, 'a\u0000b']",
    "a surrogate": 'states: ["\\ud800"]',
    "control characters": "states: [a\x07]",
    "a number of 5,000 digits": "states: [a]\ntimeouts: {a: " + "9" * 5_000 + "}",
    "infinity": "states: [a]\ntimeouts: {a: .inf}",
    "an expression of 200 kB": STATES + "transitions:\n- {from: a, event: E, to: b, when: '" + "1 + " * 50_000 + "1'}",
    "an expression of brackets": STATES + "transitions:\n- {from: a, event: E, to: b, when: '" + "(" * 60_000 + "'}",
    "an expression that calls": STATES
    + "transitions:\n- {from: a, event: E, to: b, when: \"__import__('os').system('id')\"}",
    "an expression with attributes": STATES
    + 'transitions:\n- {from: a, event: E, to: b, when: "().__class__.__bases__[0].__subclasses__()"}',
    "a power": STATES + "transitions:\n- {from: a, event: E, to: b, when: '9**9**9**9 > 1'}",
    "only white space": " \n\t\n",
    "a scalar": "just text",
    "a list": "- states",
    "nothing": "",
    "a byte order mark in the middle": "states: [a\ufeff]",
}
FINE = {"a cycle without an end", "laughs by merge", "a byte order mark in the middle", "an expression of 200 kB"}
"""May be taken: a session of it ends by its own limits, and text is text."""


@pytest.mark.parametrize("name", CORPUS)
async def test_a_hostile_flow_costs_little_and_is_told_what_is_wrong(
    tempo: Tempo, name: str, note_figures: Note
) -> None:
    """F4."""
    body = {"flow_id": "hostile", "name": "Hostile", "yaml_content": CORPUS[name]}
    ask = partial(tempo.http.post, "/api/registry/flows", json=body)
    answer, spent = await answer_and_cpu_seconds(ask, enough=MOST)
    told: Any = answer.json()
    assert spent < MOST, (name, spent)
    if answer.status_code != 200 or name not in FINE:
        assert answer.status_code in (400, 413, 422), (name, answer.text[:500])
        assert told["code"]
        assert len(answer.content) < 64 * 1024
        assert [flow["scope"] for flow in await tempo.get("/api/registry/flows")] == ["system"]
    note_figures(flow_texts=1)


async def test_the_slowest_of_them(tempo: Tempo, note_figures: Note) -> None:
    """F4: how long the worst one takes."""
    slowest = 0.0
    for text in CORPUS.values():
        body = {"flow_id": "hostile", "name": "Hostile", "yaml_content": text}
        _, spent = await answer_and_cpu_seconds(partial(tempo.http.post, "/api/registry/flows", json=body), MOST)
        slowest = max(slowest, spent)
    assert slowest < MOST
    note_figures(flow_slowest_ms=round(slowest * 1000))
