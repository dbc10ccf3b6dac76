"""Executions through the app door."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

ECHO: dict[str, Any] = {"nodes": [{"id": "a", "type": "echo"}]}
WAITS: dict[str, Any] = {"nodes": [{"id": "w", "type": "wait", "parameters": {"signal": "go"}}]}
SLEEPS: dict[str, Any] = {"nodes": [{"id": "s", "type": "wait", "parameters": {"seconds": 3600}}]}
FAILS: dict[str, Any] = {
    "nodes": [{"id": "f", "name": "bad", "type": "http_request", "parameters": {"url": "{{ 'http://0.0.0.1/' }}"}}]
}
FLOW: dict[str, Any] = {
    "kind": "flow",
    "states": ["ask", "end"],
    "user_input_states": ["ask"],
    "transitions": [{"from": "ask", "event": "USER_CONFIRM", "to": "end"}],
}


async def test_an_execution_starts_new_and_ends_with_its_result(caller: Any) -> None:
    workflow_id = await caller.stored(ECHO)
    answer = await caller.post(f"/workflows/{workflow_id}/execute", {"inputs": {"n": 1}, "metadata": {"why": "test"}})
    body = answer.json()
    assert (answer.status_code, body["status"], body["workflow_id"]) == (200, "NEW", workflow_id)
    assert body["trace_id"] == answer.headers["x-trace-id"]
    assert "result" not in body
    shown = (await caller.get(f"/executions/{body['execution_id']}?wait_ms=5000")).json()
    assert (shown["status"], shown["result"], shown["inputs"]) == ("SUCCESS", {"echo": {"n": 1}}, {"n": 1})
    assert (shown["metadata"], shown["triggered_by"], shown["mode"]) == ({"why": "test"}, caller.subject, "manual")
    (node,) = shown["node_executions"]
    assert (node["node_id"], node["status"], node["attempt"], node["output_data"]) == (
        "a",
        "completed",
        1,
        {"echo": {"n": 1}},
    )
    assert shown["run_data"]["node_results"]["a"]["status"] == "completed"
    assert shown["start_time"] <= shown["end_time"]
    assert shown["error"] is None
    assert shown["pending_approvals"] == []


async def test_whoever_waits_gets_the_real_status_and_the_result(caller: Any) -> None:
    workflow_id = await caller.stored(ECHO)
    body = (await caller.post(f"/workflows/{workflow_id}/execute", {"inputs": 7, "wait_ms": 5_000})).json()
    assert (body["status"], body["result"], body["error"]) == ("SUCCESS", {"echo": 7}, None)
    resting = await caller.stored(SLEEPS)
    body = (await caller.post(f"/workflows/{resting}/execute", {"wait_ms": 5_000})).json()
    assert body["status"] == "WAITING"
    assert "result" not in body


@pytest.mark.parametrize("alias", ["inputs", "input_data", "input", "trigger_data"])
async def test_inputs_are_known_by_all_their_names(caller: Any, alias: str) -> None:
    workflow_id = await caller.stored(ECHO)
    body = (await caller.post(f"/workflows/{workflow_id}/execute", {alias: [1], "wait_ms": 5_000})).json()
    assert body["result"] == {"echo": [1]}


async def test_a_failure_shows_its_code_and_the_node(caller: Any) -> None:
    workflow_id = await caller.stored(FAILS)
    body = (await caller.post(f"/workflows/{workflow_id}/execute", {"wait_ms": 10_000})).json()
    assert (body["status"], body["result"]) == ("ERROR", None)
    shown = (await caller.get(f"/executions/{body['execution_id']}")).json()
    assert (shown["error"]["code"], shown["error"]["node_id"]) == ("EGRESS_BLOCKED", "f")
    assert shown["error_message"]
    assert [node["status"] for node in shown["node_executions"]] == ["failed"]


async def test_a_deadline_is_told_as_timeout(caller: Any) -> None:
    workflow_id = await caller.stored(SLEEPS)
    told = {"settings": {"timeout": 0.2}, "wait_ms": 0}
    started = (await caller.post(f"/workflows/{workflow_id}/execute", told)).json()
    async with asyncio.timeout(10):
        while (shown := (await caller.get(f"/executions/{started['execution_id']}")).json())["status"] == "WAITING":
            await asyncio.sleep(0.05)
    assert (shown["status"], shown["error"]["code"]) == ("TIMEOUT", "TIMEOUT")
    assert shown["node_executions"][0]["status"] == "failed"


async def test_a_key_makes_a_repeat_the_same_execution(caller: Any) -> None:
    workflow_id = await caller.stored(ECHO)
    path = f"/workflows/{workflow_id}/execute"
    first = await caller.post(path, {"inputs": 1}, headers={"idempotency-key": "k-1"})
    again = await caller.post(path, {"inputs": 1}, headers={"idempotency-key": '"k-1"'})
    other = await caller.http.post(f"/api/v1/app{path}/", json={"inputs": 1}, headers={"idempotency-key": "k-1"})
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == other.headers["idempotency-replayed"] == "true"
    assert first.json() == again.json() == other.json()
    changed = await caller.post(path, {"inputs": 2}, headers={"idempotency-key": "k-1"})
    assert (changed.status_code, changed.json()["error_code"]) == (422, "IDEMPOTENCY_MISMATCH")
    assert (await caller.get(f"/workflows/{workflow_id}/history")).json()["total_count"] == 1


async def test_a_key_belongs_to_one_caller(caller: Any, make_caller: Any) -> None:
    workflow_id = await caller.stored({"visibility": "tenant", **ECHO})
    colleague = await make_caller(caller.tenant_id)
    headers = {"idempotency-key": "shared"}
    mine = await caller.post(f"/workflows/{workflow_id}/execute", headers=headers)
    theirs = await colleague.post(f"/workflows/{workflow_id}/execute", headers=headers)
    assert mine.json()["execution_id"] != theirs.json()["execution_id"]


async def test_racing_repeats_of_a_key_start_one_execution(caller: Any) -> None:
    workflow_id = await caller.stored(ECHO)
    calls = [
        caller.post(f"/workflows/{workflow_id}/execute", {"inputs": 1}, headers={"idempotency-key": "race"})
        for _ in range(20)
    ]
    answers = await asyncio.gather(*calls)
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["execution_id"] for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1


async def test_an_execution_can_begin_at_a_node(caller: Any) -> None:
    two = {
        "nodes": [{"id": "a", "type": "echo"}, {"id": "b", "name": "second", "type": "echo"}],
        "connections": [{"from_node": "a", "to_node": "b"}],
    }
    workflow_id = await caller.stored(two)
    told = {"start_from_node": "second", "inputs": 1, "wait_ms": 5_000}
    body = (await caller.post(f"/workflows/{workflow_id}/execute", told)).json()
    assert (body["status"], body["result"]) == ("SUCCESS", {"echo": 1})
    wrong = await caller.post(f"/workflows/{workflow_id}/execute", {"start_from_node": "third"})
    assert (wrong.status_code, wrong.json()["details"]["field"]) == (400, "start_from_node")


@pytest.mark.parametrize(
    ("definition", "reason", "detail"),
    [(WAITS, "event", "signal"), (SLEEPS, "timer", "timer"), (FLOW, "human", "input")],
)
async def test_a_waiting_execution_says_what_for(caller: Any, definition: Any, reason: str, detail: str) -> None:
    execution_id = await caller.started(definition, wait_ms=5_000)
    shown = (await caller.get(f"/executions/{execution_id}")).json()
    assert (shown["status"], shown["waiting_reason"], shown["waiting_detail"]) == ("WAITING", reason, detail)
    assert shown["waiting_since"] is not None


async def test_a_signal_moves_what_waits_for_it(caller: Any) -> None:
    execution_id = await caller.started(WAITS, wait_ms=5_000)
    answer = await caller.post(f"/executions/{execution_id}/signal", {"name": "go", "payload": {"ok": 1}})
    body = answer.json()
    assert (answer.status_code, body["success"], body["status"], body["pending"]) == (200, True, "SUCCESS", False)
    assert body["first_seq"] <= body["last_seq"]
    assert (await caller.get(f"/executions/{execution_id}")).json()["result"] == {"ok": 1}
    late = await caller.post(f"/executions/{execution_id}/signal", {"name": "go"})
    assert (late.status_code, late.json()["error_code"]) == (409, "SESSION_CLOSED")


async def test_the_same_signal_id_is_the_same_signal(caller: Any) -> None:
    execution_id = await caller.started(WAITS, wait_ms=5_000)
    first = await caller.post(f"/executions/{execution_id}/signal", {"name": "early", "signal_id": "s-1"})
    again = await caller.post(f"/executions/{execution_id}/signal", {"name": "early", "signal_id": "s-1"})
    by_key = await caller.post(
        f"/executions/{execution_id}/signal", {"name": "early"}, headers={"idempotency-key": "s-1"}
    )
    assert first.json() == again.json() == by_key.json()
    assert [answer.headers.get("idempotency-replayed") for answer in (first, again, by_key)] == [None, "true", "true"]
    other = await caller.post(f"/executions/{execution_id}/signal", {"name": "x", "signal_id": "s-1"})
    assert (other.status_code, other.json()["error_code"]) == (422, "IDEMPOTENCY_MISMATCH")
    events = (await caller.get(f"/executions/{execution_id}/events")).json()["events"]
    assert [event["type"] for event in events].count("signal.received") == 1


async def test_a_pause_that_is_repeated_by_its_key_does_not_undo_what_came_between(caller: Any) -> None:
    execution_id = await caller.started(WAITS, wait_ms=5_000)
    key = {"idempotency-key": "p-1"}
    first = await caller.post(f"/executions/{execution_id}/pause", {}, headers=key)
    await caller.post(f"/executions/{execution_id}/resume", {})
    again = await caller.post(f"/executions/{execution_id}/pause", {}, headers=key)
    assert first.json() == again.json()
    assert (await caller.get(f"/executions/{execution_id}")).json()["status"] == "WAITING"


async def test_a_flow_refuses_what_does_not_fit(caller: Any) -> None:
    execution_id = await caller.started(FLOW, wait_ms=5_000)
    shown = (await caller.get(f"/executions/{execution_id}")).json()
    assert (shown["active_states"], shown["valid_events"]) == (["ask"], ["USER_CONFIRM"])
    wrong = await caller.post(f"/executions/{execution_id}/signal", {"name": "NONSENSE"})
    assert (wrong.status_code, wrong.json()["error_code"]) == (422, "INVALID_TRANSITION")
    assert wrong.json()["details"]["valid_events"] == ["USER_CONFIRM"]
    elsewhere = {"name": "USER_CONFIRM", "expected_state": "end"}
    stale = await caller.post(f"/executions/{execution_id}/signal", elsewhere)
    assert (stale.status_code, stale.json()["error_code"]) == (409, "STATE_CONFLICT")
    moved = await caller.post(f"/executions/{execution_id}/signal", {"name": "USER_CONFIRM", "expected_state": "ask"})
    assert moved.json()["status"] == "SUCCESS"


async def test_cancel_really_cancels_and_a_second_one_says_so(caller: Any) -> None:
    execution_id = await caller.started(SLEEPS, wait_ms=5_000)
    first = (await caller.post(f"/executions/{execution_id}/cancel", {"reason": "enough"})).json()
    assert (first["success"], first["status"]) == (True, "CANCELED")
    again = (await caller.post(f"/executions/{execution_id}/cancel")).json()
    assert (again["success"], again["status"]) == (False, "CANCELED")
    events = (await caller.get(f"/executions/{execution_id}/events")).json()["events"]
    assert events[-1]["type"] == "execution.cancelled"
    assert events[-1]["data"] == {"reason": "enough", "by": caller.subject}


async def test_an_ended_execution_is_not_cancelled(caller: Any) -> None:
    execution_id = await caller.started(ECHO, wait_ms=5_000)
    body = (await caller.post(f"/executions/{execution_id}/cancel")).json()
    assert (body["success"], body["status"]) == (False, "SUCCESS")


async def test_pause_holds_and_resume_goes_on(caller: Any) -> None:
    execution_id = await caller.started(WAITS, wait_ms=5_000)
    paused = (await caller.post(f"/executions/{execution_id}/pause", {"reason": "lunch"})).json()
    assert (paused["success"], paused["status"]) == (True, "PAUSED")
    await caller.post(f"/executions/{execution_id}/signal", {"name": "go"})
    shown = (await caller.get(f"/executions/{execution_id}")).json()
    assert (shown["status"], shown["waiting_reason"]) == ("PAUSED", None)
    await caller.post(f"/executions/{execution_id}/resume")
    assert (await caller.get(f"/executions/{execution_id}?wait_ms=5000")).json()["status"] == "SUCCESS"


async def test_lists_filter_by_status_in_every_spelling_and_by_workflow(caller: Any) -> None:
    workflow_id = await caller.stored(ECHO)
    done = (await caller.post(f"/workflows/{workflow_id}/execute", {"wait_ms": 5_000})).json()["execution_id"]
    waiting = await caller.started(WAITS, wait_ms=5_000)

    async def ids(query: str) -> list[str]:
        body = (await caller.get(f"/executions?{query}")).json()
        assert body["total_count"] == body["total"] == len(body["executions"])
        return [item["execution_id"] for item in body["executions"]]

    assert await ids("") == [waiting, done]
    assert await ids("status=SUCCESS") == await ids("status=completed") == [done]
    assert await ids("status=active") == await ids("status=WAITING_FOR_HUMAN") == [waiting]
    assert await ids("status=SUCCESS,WAITING") == await ids("status=SUCCESS&status=waiting") == [waiting, done]
    assert await ids("status=CANCELED") == []
    assert await ids(f"workflow_id={workflow_id}") == [done]
    legacy = await caller.http.get("/api/v1/workflows/executions/active")
    assert [item["execution_id"] for item in legacy.json()["executions"]] == [waiting]
