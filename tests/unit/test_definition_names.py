"""A definition by its digest, and as a picture."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from interlock.core.definition import digest, draw, read_definition
from interlock.core.engine.flow.blackboard_names import blackboard_names
from interlock.core.errors import InterlockError
from interlock.core.workflow import Definition, GraphDefinition, NodeDefinition
from unit.definition_house import FLOW, GRAPH, flow, graph, nodes, validate


def read(source: Any) -> Definition:
    definition, _ = read_definition(source)
    assert definition is not None
    return definition


def test_the_digest_is_a_sha256_of_the_content_alone() -> None:
    assert len(digest(read(GRAPH))) == 64
    assert digest(read(graph(name="another", description="x", tags=["t"]))) == digest(read(GRAPH))
    assert digest(read(FLOW)) != digest(read(GRAPH))


def test_spelling_out_a_default_changes_no_digest() -> None:
    plain = nodes({"id": "a"}, {"id": "b"}, connections=["a -> b"])
    spelled = nodes(
        {"id": "a", "join": "all", "retry": {"max_attempts": 1}, "disabled": False},
        {"id": "b", "parameters": {}},
        connections=[{"from": "a", "to": "b", "port": "result", "into": "main"}],
        settings={"max_parallel": 100},
    )
    assert digest(read(plain)) == digest(read(spelled))


@pytest.mark.parametrize(
    "change",
    [
        nodes({"id": "a", "parameters": {"input": 2}}),
        nodes({"id": "a", "parameters": {"input": 1.0}}),
        nodes({"id": "a", "parameters": {"input": "1"}}),
        nodes({"id": "a", "parameters": {"input": 1}, "timeout": 1}),
        nodes({"id": "b", "parameters": {"input": 1}}),
    ],
)
def test_every_change_of_content_changes_the_digest(change: dict[str, Any]) -> None:
    assert digest(read(change)) != digest(read(nodes({"id": "a", "parameters": {"input": 1}})))


def test_a_definition_that_is_no_json_has_no_digest() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    for value in (1j, deep, object()):
        with pytest.raises(InterlockError) as caught:
            digest(GraphDefinition(nodes=(NodeDefinition(id="a", type="echo", parameters={"x": value}),)))
        assert caught.value.code == "NOT_JSON"


def test_a_graph_is_drawn_with_its_ports_and_conditions() -> None:
    picture = msgspec.to_builtins(draw(read(GRAPH)))
    boxes = {box["id"]: box for box in picture["nodes"]}
    assert boxes["ask"] == {
        "id": "ask",
        "label": "Ask someone",
        "type": "approval",
        "initial": False,
        "user_input": True,
        "terminal": False,
    }
    assert [key for key, box in boxes.items() if box["initial"]] == ["start"]
    assert [key for key, box in boxes.items() if box["terminal"]] == ["end"]
    labels = {(edge["from"], edge["to"]): edge["label"] for edge in picture["edges"]}
    assert labels["start", "each"] == ""
    assert labels["each", "price"] == "iteration"
    assert labels["each", "big"] == ""
    assert labels["ask", "end"] == "confirmed if $json.approved"


def test_a_loop_at_the_beginning_is_initial_although_its_body_leads_back() -> None:
    loop = {"id": "l", "type": "loop", "parameters": {"times": 2}}
    source = nodes(loop, {"id": "a"}, connections=[{"from": "l", "port": "iteration", "to": "a"}, "a -> l"])
    boxes = {box.id: box for box in draw(read(source)).nodes}
    assert boxes["l"].initial
    assert boxes["l"].terminal
    assert not boxes["a"].initial


def test_a_flow_is_drawn_with_events_guards_and_timers() -> None:
    picture = draw(read(FLOW))
    boxes = {box.id: box for box in picture.nodes}
    assert (boxes["check"].initial, boxes["check"].type) == (True, "transform")
    assert (boxes["rest"].user_input, boxes["end"].terminal, boxes["rest"].terminal) == (True, True, False)
    labels = [(edge.source, edge.target, edge.label) for edge in picture.edges]
    assert ("check", "left", "STEP_DONE if variables.n > 3") in labels
    assert ("rest", "end", "LATE after 3600 s") in labels
    assert ("right", "joined", "ALL_DONE") in labels
    assert ("joined", "end", "GO") in labels


def test_what_is_not_valid_is_drawn_without_its_loose_ends() -> None:
    assert draw(read(nodes({"id": "a"}, {"id": "a"}, connections=["a -> x", "y -> a"]))).edges == ()
    picture = draw(read(flow(transitions=[{"from": "check", "event": "E", "to": ["end", "zz"]}])))
    assert [(edge.source, edge.target) for edge in picture.edges] == [("check", "end")]
    assert draw(read({"states": []})).nodes == ()


def test_the_source_is_left_as_it_was() -> None:
    before = msgspec.json.encode(GRAPH)
    definition = validate(GRAPH).definition
    assert definition is not None
    draw(definition)
    assert msgspec.json.encode(GRAPH) == before


def test_blackboard_names_are_the_plain_names_in_placeholders() -> None:
    value = {"a": "{{ order.total + $json.x }} of {{ _params.who }}", "b": ["plain words", "{{ date }}"], "c": 1}
    assert blackboard_names(value) >= {"order", "_params", "date"}
    assert not blackboard_names(value) & {"$json", "json", "plain", "words"}
