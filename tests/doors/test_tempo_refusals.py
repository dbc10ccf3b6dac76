"""What is refused at the tempo door, in which words, and what must not be."""

from __future__ import annotations

from typing import Any

import pytest

from doors.conftest import MakeCaller
from doors.tempo_house import Tempo

ECHO = {"flow_id": "echo_test_flow", "params": {"input": "x"}}
LOOP = """
states: [a, b]
state_node_map: {a: echo, b: echo}
terminal_states: []
transitions:
  - {from: a, event: STEP_DONE, to: b}
  - {from: b, event: STEP_DONE, to: a}
"""


async def test_a_flow_that_never_rests_says_where_it_was(tempo: Tempo) -> None:
    await tempo.registered("loop", LOOP)
    started = await tempo.post("/api/workflow/start", {"flow_id": "loop", "params": {"input": 1}, "wait_ms": 30_000})
    state = await tempo.state(started["session_id"])
    assert (state["error"]["code"], state["error"]["step"]) == ("FLOW_LOOP_LIMIT", state["current_state"])
    last = (await tempo.get(f"/api/workflow/{started['session_id']}/events?after={state['tick'] - 1}"))["events"][-1]
    assert (last["type"], last["payload"]["state"]) == ("SESSION_ERROR", state["current_state"])


async def test_the_pause_before_another_attempt_is_no_rest(tempo: Tempo) -> None:
    text = """
states: [call, end, failed]
state_node_map: {call: http_request}
state_params: {call: {url: "http://127.0.0.1:9/"}}
retry: {call: {max_attempts: 2, base_seconds: 0.2, max_seconds: 0.2}}
terminal_states: [end, failed]
transitions: [{from: call, event: STEP_DONE, to: end}, {from: call, event: ERROR, to: failed}]
"""
    await tempo.registered("calling", text)
    told = await tempo.post("/api/workflow/start", {"flow_id": "calling", "session_id": "c-1", "wait_ms": 30_000})
    assert (told["state"], told["session_state"]) == ("failed", "completed")
    attempts = [event["payload"]["will_retry"] for event in await tempo.events("c-1") if event["type"] == "EVENT_ERROR"]
    assert attempts == [True, False]
    assert await tempo.post("/api/workflow/start", {"flow_id": "calling", "session_id": "c-1"}) == told


async def test_refusals_speak_of_sessions(tempo: Tempo) -> None:
    session_id = await tempo.started(ECHO)
    await tempo.pushed(session_id, "PAUSE", event_id="p")
    paused = await tempo.pushed(session_id, "USER_CONFIRM", 409)
    used = await tempo.pushed(session_id, "RESUME", 422, event_id="p")
    first = await tempo.post("/api/workflow/start", ECHO, Idempotency_Key="k")
    other = await tempo.post("/api/workflow/start", {**ECHO, "params": {}}, 422, Idempotency_Key="k")
    assert (paused["code"], used["code"]) == ("SESSION_PAUSED", "IDEMPOTENCY_MISMATCH")
    assert other["details"] == {"session_id": first["session_id"]}
    for refusal in (paused, used, other):
        assert not {"execution", "signal"} & set(str(refusal).replace("_", " ").split()), refusal


@pytest.mark.parametrize("name", ["Host", "Content-Length", "transfer-encoding", "Connection"])
async def test_headers_of_the_connection_are_refused_where_they_are_registered(tempo: Tempo, name: str) -> None:
    node = {"node_id": "n", "name": "n", "endpoint": "http://127.0.0.1:9/", "headers": {name: "1"}}
    refused = await tempo.post("/api/registry/nodes", node, 422)
    assert refused["details"]["errors"][0]["field"] == "headers"


async def test_a_scope_is_asked_for_before_what_there_is(make_caller: MakeCaller) -> None:
    reader = await make_caller(scopes=["executions:read"])
    for session_id in ("no-such-session", "01a20000-0000-7000-8000-000000000000"):
        path = f"/api/workflow/{session_id}/callback"
        answer = await reader.http.post(path, json={"step": "call", "result": 1})
        assert (answer.status_code, answer.json()["code"]) == (403, "AUTHORIZATION_FAILED")


@pytest.mark.parametrize("session_id", ["a%20b", "%C3%A9", "x" * 129])
async def test_a_scratch_blackboard_has_an_id_that_may_be_chosen(tempo: Tempo, session_id: str) -> None:
    refused = await tempo.put(f"/api/state/{session_id}/k", 1, 422)
    assert refused["details"]["errors"][0]["field"] == "session_id"
    assert (await tempo.get(f"/api/state/{session_id}"))["state"] == {}


async def test_a_key_may_hold_slashes(tempo: Tempo) -> None:
    written = await tempo.put("/api/state/scratch/files%2F2026%2Fa.txt", "here")
    assert written["key"] == "files/2026/a.txt"
    await tempo.get("/api/state/scratch/files/2026/a.txt", 404)
    assert (await tempo.get("/api/state/scratch/files%2F2026%2Fa.txt"))["value"] == "here"
    assert (await tempo.get("/api/state/scratch"))["state"] == {"files/2026/a.txt": "here"}
    version = (await tempo.http.get("/api/state/scratch/files%2F2026%2Fa.txt")).headers["etag"]
    assert version == f'"{written["version"]}"'


async def test_a_text_that_is_too_large_is_an_invalid_flow(tempo: Tempo) -> None:
    for text in ("#" + "x" * 262_144, "#" + "\u00e9" * 131_072):
        refused = await tempo.registered("large", text + "\nstates: [a, b]", 422)
        assert refused["code"] == "FLOW_VALIDATION_ERROR"
        assert "262144 bytes" in refused["details"]["errors"][0]
    await tempo.registered("nearly", "states: [a, b] #" + "x" * 262_000)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/api/llm/chat", {"messages": [{"role": "user", "content": "x"}], "base_url": "http://x"}, "base_url"),
        (
            "/api/registry/nodes",
            {"node_id": "n", "name": "n", "endpoint": "http://127.0.0.1:9/", "secret": "short"},
            "secret",
        ),
    ],
)
async def test_every_wrong_field_is_listed(tempo: Tempo, path: str, body: dict[str, Any], field: str) -> None:
    refused = await tempo.post(path, body, 422)
    assert [(error["field"], bool(error["reason"])) for error in refused["details"]["errors"]] == [(field, True)]


async def test_a_status_of_a_callback_that_is_none_is_listed(tempo: Tempo) -> None:
    session_id = await tempo.started(ECHO)
    body = {"step": "start", "result": 1, "status": "fine"}
    refused = await tempo.post(f"/api/workflow/{session_id}/callback", body, 422)
    assert refused["details"]["errors"][0]["field"] == "status"
