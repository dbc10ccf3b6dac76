"""All problems of a definition come at once at the app door, and none of them twice."""

from __future__ import annotations

from typing import Any

UNAVAILABLE: dict[str, Any] = {"type": "AI_AGENT", "subtype": "OPENAI_CHATGPT"}


async def problems(caller: Any, nodes: Any, connections: Any = ()) -> list[tuple[str, str]]:
    """Code and path of every error, the same from checking and from storing."""
    definition = {"nodes": nodes, "connections": list(connections)}
    checked = (await caller.post("/workflows/validate", definition)).json()
    refused = await caller.post("/workflows", {"name": "broken", **definition})
    assert (checked["valid"], refused.status_code) == (False, 400)
    assert refused.json()["details"]["errors"] == checked["errors"]
    return [(error["code"], error["path"]) for error in checked["errors"]]


async def test_an_id_used_twice_is_told_beside_a_type_that_is_not_available(caller: Any) -> None:
    available: dict[str, Any] = {"id": "n", "type": "echo"}
    for nodes in ([{"id": "n", **UNAVAILABLE}, available], [available, {"id": "n", **UNAVAILABLE}]):
        bad = next(index for index, node in enumerate(nodes) if node is not available)
        assert await problems(caller, nodes) == [
            ("NODE_TYPE_UNAVAILABLE", f"nodes[{bad}].subtype"),
            ("ID_DUPLICATE", "nodes[1].id"),
        ]


async def test_everything_wrong_with_a_node_of_an_unavailable_type_is_told(caller: Any) -> None:
    node = {
        "id": "n",
        **UNAVAILABLE,
        "parameters": {"model": "m", "prompt": "{{ 1 + }}"},
        "retry_policy": {"max_tries": 0},
        "on_error": "explode",
        "timeout_seconds": -1,
    }
    assert sorted(await problems(caller, [node])) == [
        ("EXPRESSION_ERROR", "nodes[0].parameters.prompt"),
        ("NODE_TYPE_UNAVAILABLE", "nodes[0].subtype"),
        ("OUT_OF_RANGE", "nodes[0].retry.max_attempts"),
        ("OUT_OF_RANGE", "nodes[0].timeout"),
        ("VALUE_NOT_ALLOWED", "nodes[0].on_error"),
    ]


async def test_what_leads_away_from_an_unavailable_node_is_no_problem_of_its_own(caller: Any) -> None:
    nodes = [{"id": "n", **UNAVAILABLE}, {"id": "a", "type": "echo"}]
    expected = [("NODE_TYPE_UNAVAILABLE", "nodes[0].subtype")]
    assert await problems(caller, nodes, [{"from_node": "n", "to_node": "a", "output_key": "confirmed"}]) == expected
    nodes_of_ports = {"n": {"main": [[], [{"node": "a"}]]}}
    answer = await caller.post("/workflows/validate", {"nodes": nodes, "connections": nodes_of_ports})
    assert [(error["code"], error["path"]) for error in answer.json()["errors"]] == expected


async def test_parameters_without_a_meaning_here_are_told_once_and_with_the_rest_of_their_node(caller: Any) -> None:
    wait = {
        "id": "w",
        "type": "FLOW",
        "subtype": "WAIT",
        "parameters": {"wait_condition": "webhook", "note": "{{ 1 + }}"},
        "on_error": "explode",
    }
    other = {"id": "o", "type": "FLOW", "subtype": "DELAY", "parameters": {"duration_seconds": "soon"}}
    assert sorted(await problems(caller, [wait, other])) == [
        ("EXPRESSION_ERROR", "nodes[0].parameters.note"),
        ("PARAMETER_INVALID", "nodes[0].parameters"),
        ("PARAMETER_INVALID", "nodes[1].parameters.seconds"),
        ("VALUE_NOT_ALLOWED", "nodes[0].on_error"),
    ]


async def test_two_names_that_differ_hide_nothing_else_of_their_node(caller: Any) -> None:
    node = {"id": "n", "type": "ehco", "timeout": 1, "timeout_seconds": 2, "join": "some"}
    assert sorted(await problems(caller, [node])) == [
        ("KEY_CONFLICT", "nodes[0].timeout_seconds"),
        ("NODE_TYPE_UNKNOWN", "nodes[0].type"),
        ("VALUE_NOT_ALLOWED", "nodes[0].join"),
    ]
