"""Workflows through the app door."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from interlock.kit.clock import ManualClock
from interlock.runtime import starting
from interlock.services.workflows.create import KEY_LIFETIME, CreateWorkflows

ECHO: dict[str, Any] = {"nodes": [{"id": "a", "type": "echo"}]}
EXAMPLE: dict[str, Any] = {
    "name": "w",
    "nodes": [
        {"id": "t", "name": "start", "type": "TRIGGER_NODE", "subtype": "MANUAL"},
        {
            "id": "i",
            "name": "big",
            "type": "FLOW",
            "subtype": "IF",
            "parameters": {"condition_expression": "data.n > 10"},
        },
        {
            "id": "h",
            "name": "ok",
            "type": "HUMAN_IN_THE_LOOP",
            "subtype": "IN_APP_APPROVAL",
            "configurations": {"title": "Pay?"},
        },
    ],
    "connections": {
        "start": {"main": [[{"node": "big", "type": "main", "index": 0}]]},
        "big": {"true": [{"node": "ok", "port": "main"}]},
    },
}
FLOW: dict[str, Any] = {
    "name": "order",
    "kind": "flow",
    "states": ["ask", "end"],
    "user_input_states": ["ask"],
    "transitions": [{"from": "ask", "event": "USER_CONFIRM", "to": "end"}],
}


async def test_the_worked_example_answers_ids_normal_types_and_flat_connections(caller: Any) -> None:
    answer = await caller.post("/workflows", EXAMPLE)
    body = answer.json()
    assert answer.status_code == 200
    assert body["connections_list"] == [
        {"from_node": "t", "to_node": "i", "output_key": "result"},
        {"from_node": "i", "to_node": "h", "output_key": "true"},
    ]
    assert body["connections"] == EXAMPLE["connections"]
    assert [(node["type"], node["subtype"]) for node in body["nodes"]] == [
        ("TRIGGER", "MANUAL"),
        ("FLOW", "IF"),
        ("HUMAN_IN_THE_LOOP", "IN_APP_APPROVAL"),
    ]
    assert body["triggers"] == ["t"]
    assert body["id"] == body["workflow_id"] == body["workflow"]["id"] == body["metadata"]["id"]
    assert (body["version"], body["found"], body["active"]) == (1, True, True)


async def test_both_request_forms_store_the_same_definition(caller: Any) -> None:
    flat = (await caller.post("/workflows", {"name": "same", "tags": ["x"], **ECHO})).json()
    wrapped = (await caller.post("/workflows", {"metadata": {"name": "same", "tags": ["x"]}, **ECHO})).json()
    assert (flat["name"], flat["tags"], flat["digest"]) == (wrapped["name"], wrapped["tags"], wrapped["digest"])


async def test_a_shape_can_be_asked_for_alone(caller: Any) -> None:
    workflow_id = await caller.stored(ECHO)
    flat = (await caller.get(f"/workflows/{workflow_id}?shape=flat")).json()
    wrapped = (await caller.get(f"/workflows/{workflow_id}?shape=wrapped")).json()
    assert "workflow" not in flat
    assert set(wrapped) == {"found", "message", "workflow"}
    assert flat["nodes"] == wrapped["workflow"]["nodes"]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("list", [{"from_node": "a", "to_node": "b", "output_key": "result"}]),
        ("main", {"a": {"main": [[{"node": "b", "type": "main", "index": 0}]]}}),
        ("map", {"a": {"connection_types": {"main": {"connections": [{"node": "b", "type": "main", "index": 0}]}}}}),
    ],
)
async def test_connections_are_converted_and_read_back_in_each_form(caller: Any, form: str, expected: Any) -> None:
    nodes = [{"id": "a", "type": "echo"}, {"id": "b", "type": "echo"}]
    workflow_id = await caller.stored({"nodes": nodes, "connections": [{"from_node": "a", "to_node": "b"}]})
    converted = (await caller.get(f"/workflows/{workflow_id}?connections={form}")).json()["connections"]
    assert converted == expected
    again = (await caller.post("/workflows", {"name": "again", "nodes": nodes, "connections": converted})).json()
    assert again["connections_list"] == [{"from_node": "a", "to_node": "b", "output_key": "result"}]


async def test_a_flow_is_stored_as_a_flow(caller: Any) -> None:
    body = (await caller.post("/workflows", FLOW)).json()
    assert (body["kind"], body["nodes"], body["flow"]["states"]) == ("flow", [], ["ask", "end"])
    assert [node["id"] for node in body["picture"]["nodes"]] == ["ask", "end"]


async def test_an_invalid_definition_is_refused_with_all_errors_and_nothing_is_stored(caller: Any) -> None:
    broken = {
        "name": "broken",
        "nodes": [
            {"id": "a", "type": "ehco"},
            {"id": "b", "type": "condition", "parameters": {"condition_expression": "1 +"}},
        ],
        "connections": [{"from_node": "a", "to_node": "nowhere"}],
    }
    answer = await caller.post("/workflows", broken)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "WORKFLOW_INVALID")
    errors = answer.json()["details"]["errors"]
    assert {"NODE_TYPE_UNKNOWN", "EXPRESSION_ERROR", "CONNECTION_INVALID"} <= {error["code"] for error in errors}
    assert all(error["message"] and error["path"] for error in errors)
    assert (await caller.get("/workflows")).json()["total_count"] == 0


async def test_validation_tells_the_same_and_stores_nothing(caller: Any) -> None:
    answer = await caller.post("/workflows/validate", {"nodes": [{"id": "a", "name": "my node", "type": "ehco"}]})
    body = answer.json()
    assert answer.status_code == 200
    assert (body["valid"], [error["code"] for error in body["errors"]]) == (False, ["NODE_TYPE_UNKNOWN"])
    assert [warning["code"] for warning in body["warnings"]] == ["NAME_WITH_SPACES"]
    good = (await caller.post("/workflows/validate", EXAMPLE)).json()
    assert good == {"valid": True, "errors": [], "warnings": []}


async def test_an_unknown_setting_is_refused_by_name(caller: Any) -> None:
    answer = await caller.post("/workflows", {"name": "x", **ECHO, "settings": {"max_paralel": 3}})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "VALIDATION_ERROR")
    assert answer.json()["details"]["field"] == "settings.max_paralel"
    assert "did you mean 'max_parallel'?" in answer.json()["message"]


async def test_keys_that_mean_nothing_are_warnings_of_checking_storing_and_changing(caller: Any) -> None:
    broken = {
        "name": "x",
        "nodes": [{"id": "a", "type": "echo", "on_eror": "continue"}, {"id": "b", "type": "echo"}],
        "connections": [{"from_node": "a", "to_node": "b", "wen": "false"}],
        "setings": {"timeout": 3},
    }
    checked = (await caller.post("/workflows/validate", broken)).json()
    created = (await caller.post("/workflows", broken)).json()
    changed = (await caller.put(f"/workflows/{created['workflow_id']}", broken)).json()
    expected = [
        ("setings", {"value": "an object of 1 keys", "hint": "did you mean 'settings'?"}),
        ("nodes[0].on_eror", {"value": "continue", "hint": "did you mean 'on_error'?"}),
        ("connections[0].wen", {"value": "false", "hint": "did you mean 'when'?"}),
    ]
    assert (checked["valid"], checked["errors"], changed["version"]) == (True, [], 2)
    for warnings in (checked["warnings"], created["warnings"], changed["warnings"]):
        assert [warning["code"] for warning in warnings] == ["KEY_UNKNOWN"] * 3
        for warning, (path, rest) in zip(warnings, expected, strict=True):
            assert warning["path"] == path
            assert warning.items() >= rest.items()
    assert "warnings" not in (await caller.get(f"/workflows/{created['workflow_id']}")).json()


@pytest.mark.parametrize("definition", [EXAMPLE, FLOW])
async def test_what_was_answered_may_be_sent_back_without_a_warning(caller: Any, definition: dict[str, Any]) -> None:
    made = await caller.post("/workflows", definition, headers={"idempotency-key": "back"})
    workflow_id = made.json()["workflow_id"]
    shown = (await caller.get(f"/workflows/{workflow_id}")).json()
    changed = await caller.put(f"/workflows/{workflow_id}", {**shown, "description": "edited"})
    assert (made.json()["warnings"], changed.status_code, changed.json()["warnings"]) == ([], 200, [])


async def test_a_condition_on_a_connection_decides(caller: Any) -> None:
    nodes = [{"id": "a", "type": "echo"}, {"id": "b", "type": "echo"}]
    connection = {"from_node": "a", "to_node": "b", "condition": "false"}
    execution_id = await caller.started({"nodes": nodes, "connections": [connection]}, wait_ms=5_000)
    execution = (await caller.get(f"/executions/{execution_id}")).json()
    found = {node["node_id"]: node["status"] for node in execution["node_executions"]}
    assert (execution["status"], found["b"]) == ("SUCCESS", "skipped")
    both = {"nodes": nodes, "connections": [{**connection, "when": "true"}]}
    errors = (await caller.post("/workflows/validate", both)).json()["errors"]
    assert [(error["code"], error["path"]) for error in errors] == [("KEY_CONFLICT", "connections[0].condition")]


@pytest.mark.parametrize("name", [None, "", "  "])
async def test_a_workflow_needs_a_name(caller: Any, name: str | None) -> None:
    answer = await caller.post("/workflows", {**({} if name is None else {"name": name}), **ECHO})
    assert (answer.status_code, answer.json()["details"]["field"]) == (400, "name")


async def test_an_update_makes_a_new_version_and_keeps_the_rest(caller: Any) -> None:
    workflow_id = await caller.stored({"description": "first", "tags": ["t"], **ECHO})
    answer = await caller.put(f"/workflows/{workflow_id}", {"description": "second"})
    body = answer.json()
    assert (body["version"], body["description"], body["tags"]) == (2, "second", ["t"])
    assert [node["id"] for node in body["nodes"]] == ["a"]
    old = (await caller.get(f"/workflows/{workflow_id}?version=1")).json()
    assert old["version"] == 1
    versions = (await caller.get(f"/workflows/{workflow_id}/versions")).json()["versions"]
    assert [version["version"] for version in versions] == [2, 1]
    assert versions[0]["created_by"] == caller.subject


async def test_an_update_can_turn_a_graph_into_a_flow(caller: Any) -> None:
    workflow_id = await caller.stored(ECHO)
    changed = await caller.put(
        f"/workflows/{workflow_id}", {key: value for key, value in FLOW.items() if key != "kind"}
    )
    assert (changed.status_code, changed.json()["kind"], changed.json()["nodes"]) == (200, "flow", [])


async def test_a_key_makes_a_repeated_create_the_same_workflow(caller: Any, make_caller: Any) -> None:
    headers = {"idempotency-key": "create-1"}
    first = await caller.post("/workflows", {"name": "once", **ECHO}, headers=headers)
    again = await caller.post("/workflows", {"name": "once", **ECHO}, headers=headers)
    assert "idempotency-replayed" not in first.headers
    assert (again.json(), again.headers["idempotency-replayed"]) == (first.json(), "true")
    for changed in ({"name": "twice", **ECHO}, {"name": "once", "nodes": [{"id": "b", "type": "echo"}]}):
        other = await caller.post("/workflows", changed, headers=headers)
        assert (other.status_code, other.json()["error_code"]) == (422, "IDEMPOTENCY_MISMATCH")
    colleague = await make_caller(caller.tenant_id)
    theirs = await colleague.post("/workflows", {"name": "once", **ECHO}, headers=headers)
    assert theirs.json()["workflow_id"] != first.json()["workflow_id"]
    assert (await caller.get("/workflows")).json()["total_count"] == 1


async def test_a_key_of_a_create_lives_a_day_and_can_then_be_used_anew(
    make_caller: Any, house: Any, store: Any
) -> None:
    clock = ManualClock(house.clock.now())
    create = CreateWorkflows(store, house.services.validate_definition, clock, house.ids)
    caller = await make_caller(app=replace(house, services=replace(house.services, create_workflow=create)).app())

    async def made(name: str) -> tuple[str, bool]:
        answer = await caller.post("/workflows", {"name": name, **ECHO}, headers={"idempotency-key": "daily"})
        return answer.json().get(
            "workflow_id", answer.json().get("error_code")
        ), "idempotency-replayed" in answer.headers

    days: list[str] = []
    for name in ("monday", "tuesday", "wednesday"):
        workflow_id, is_replay = await made(name)
        assert (is_replay, workflow_id in days) == (False, False)
        days.append(workflow_id)
        clock.advance(timedelta(hours=23, minutes=59))
        assert await made(name) == (workflow_id, True)
        assert await made("another body") == ("IDEMPOTENCY_MISMATCH", False)
        clock.advance(timedelta(minutes=1))
    assert (await caller.get("/workflows")).json()["total_count"] == 3
    assert KEY_LIFETIME == starting.KEY_LIFETIME, "keys of all operations live equally long"


async def test_racing_repeats_of_a_create_store_one_workflow(caller: Any) -> None:
    told = {"json": {"name": "once", **ECHO}, "headers": {"idempotency-key": "race"}}
    answers = await asyncio.gather(*(caller.http.post("/api/app/workflows", **told) for _ in range(6)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["workflow_id"] for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    assert (await caller.get("/workflows")).json()["total_count"] == 1


async def test_a_key_whose_workflow_was_deleted_does_not_bring_it_back(caller: Any) -> None:
    told = {"json": {"name": "gone", **ECHO}, "headers": {"idempotency-key": "gone"}}
    workflow_id = (await caller.http.post("/api/app/workflows", **told)).json()["workflow_id"]
    await caller.http.delete(f"/api/app/workflows/{workflow_id}")
    again = await caller.http.post("/api/app/workflows", **told)
    assert (again.status_code, again.json()["error_code"]) == (409, "CONFLICT")
    assert again.json()["details"] == {"workflow_id": workflow_id}
    assert (await caller.get("/workflows")).json()["total_count"] == 0


async def test_a_colleague_changes_what_is_shared_and_never_whose_it_is(caller: Any, make_caller: Any) -> None:
    shared = await caller.stored({"visibility": "tenant", **ECHO})
    colleague = await make_caller(caller.tenant_id)
    changed = (await colleague.put(f"/workflows/{shared}", {"name": "ours"})).json()
    assert (changed["name"], changed["metadata"]["created_by"], changed["version"]) == ("ours", caller.subject, 2)
    hidden = await colleague.put(f"/workflows/{shared}", {"visibility": "private"})
    assert (hidden.status_code, hidden.json()["error_code"]) == (403, "AUTHORIZATION_FAILED")
    assert (await caller.put(f"/workflows/{shared}", {"visibility": "private"})).status_code == 200


async def test_patch_is_put_by_another_name(caller: Any) -> None:
    workflow_id = await caller.stored(ECHO)
    answer = await caller.http.patch(f"/api/app/workflows/{workflow_id}", json={"name": "renamed"})
    assert (answer.status_code, answer.json()["name"], answer.json()["version"]) == (200, "renamed", 2)


async def test_an_update_of_a_version_that_is_no_longer_newest_is_a_conflict(caller: Any) -> None:
    workflow_id = await caller.stored(ECHO)
    await caller.put(f"/workflows/{workflow_id}", {"name": "two"})
    answer = await caller.put(f"/workflows/{workflow_id}", {"name": "late", "expected_version": 1})
    assert (answer.status_code, answer.json()["error_code"]) == (409, "CONFLICT")
    assert answer.json()["details"] == {"version": 2, "expected_version": 1}
    assert (await caller.get(f"/workflows/{workflow_id}")).json()["name"] == "two"


async def test_a_deleted_workflow_is_unknown_and_keeps_its_history(caller: Any) -> None:
    workflow_id = await caller.stored(ECHO)
    await caller.post(f"/workflows/{workflow_id}/execute", {"wait_ms": 5_000})
    assert (await caller.http.delete(f"/api/app/workflows/{workflow_id}")).json()["success"] is True
    assert (await caller.get(f"/workflows/{workflow_id}")).status_code == 404
    assert (await caller.post(f"/workflows/{workflow_id}/execute")).status_code == 404
    assert (await caller.http.delete(f"/api/app/workflows/{workflow_id}")).status_code == 404
    assert (await caller.get(f"/workflows/{workflow_id}/history")).json()["total_count"] == 1
