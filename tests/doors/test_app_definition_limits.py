"""Definitions of the app door at their limits: too large, too strange, and back and forth."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.definition import read_definition, validate_definition
from interlock.doors.http.app.connections import main_form, typed_form
from interlock.doors.http.app.definitions import translate
from interlock.doors.http.app.node_words import WORDS
from interlock.nodes import load
from timing import least_cpu_seconds

CATALOGUE = load().types
TWO = [{"id": "a", "name": "first", "type": "echo"}, {"id": "b", "name": "second", "type": "echo"}]
LARGE: dict[str, Any] = {
    "350,000 empty nodes": {"nodes": [{}] * 350_000},
    "10,000 nodes of one name": {"nodes": [{"name": "x"}] * 10_000},
    "5,000 nodes of one name": {"nodes": [{"name": "x", "type": "echo"}] * 5_000},
    "350,000 connections": {"nodes": TWO, "connections": ["a->b"] * 350_000},
    "20,000 broken connections": {"nodes": TWO, "connections": ["a->z"] * 20_000},
    "100,000 targets": {"nodes": TWO, "connections": {"a": {"main": [[{"node": "b"}] * 100_000]}}},
    "100,000 positions": {"nodes": TWO, "connections": {"a": {"main": [[]] * 100_000}}},
    "a very long name": {"nodes": [{"name": "x" * 1_000_000, "type": "y" * 1_000_000}]},
    "a very long conversion": {
        "nodes": TWO,
        "connections": [{"from_node": "a", "to_node": "b", "conversion_function": "def f(" + "a:" * 400_000}],
    },
}


@pytest.mark.parametrize("name", LARGE)
def test_whatever_is_too_large_is_refused_at_once(name: str) -> None:
    def check() -> tuple[Any, Any]:
        translated = translate(LARGE[name], CATALOGUE)
        return translated, validate_definition(translated.native, CATALOGUE, check_parameters=lambda *_: [])

    assert least_cpu_seconds(check, enough=1.0) < 1.0
    translated, verdict = check()
    assert len(translated.problems) <= 500
    assert translated.problems or verdict.errors or name == "5,000 nodes of one name"


edges = st.lists(
    st.tuples(st.sampled_from("cab"), st.sampled_from("cab"), st.sampled_from(["result", "true", "false", "x"])),
    max_size=8,
)


@given(edges)
def test_converting_connections_loses_nothing(pairs: list[tuple[str, str, str]]) -> None:
    items = [{"from_node": source, "to_node": target, "output_key": port} for source, target, port in pairs]
    nodes = [{"id": name, "type": "echo"} for name in "cab"]
    for form in (main_form(items), typed_form(items)):
        translated = translate({"nodes": nodes, "connections": form}, CATALOGUE)
        assert sorted(map(json.dumps, translated.connections_list)) == sorted(map(json.dumps, items))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "id",
                    "name",
                    "type",
                    "subtype",
                    "configurations",
                    "retry_policy",
                    "cases",
                    "wait_condition",
                    "main",
                    "a",
                    "connection_types",
                    "connections",
                    "node",
                    "settings",
                    "budget",
                    "nodes",
                    "states",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(nodes=values, connections=values, settings=values, words=st.sampled_from(list(WORDS)))
def test_nothing_that_is_json_breaks_the_translation(
    nodes: Any, connections: Any, settings: Any, words: tuple[str, str]
) -> None:
    named = {
        "id": "n",
        "type": words[0],
        "subtype": words[1],
        "configurations": settings if isinstance(settings, dict) else {},
    }
    for source in (
        {"nodes": nodes, "connections": connections, "settings": settings},
        {"nodes": [nodes, named, {"id": "a", "type": "echo"}], "connections": connections},
    ):
        translated = translate(source, CATALOGUE)
        read_definition(translated.native)
