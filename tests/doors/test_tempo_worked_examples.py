"""The worked examples of this door, word for word, against ``interlock up --local`` and with ``X-Tenant-Id`` alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from standardwebhooks import Webhook as Outside
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from doors.tempo_house import Tempo
from interlock.kit.ids import RandomIds
from served import RunningServer
from webhook_house import Got, Receiver, receiving, until

ECHO_UI = {"components": [{"type": "markdown", "props": {"content": "Echo: x"}}]}
WEBHOOK_FLOW = """\
states: [call, end]
state_node_map: {call: %s}
transitions:
  - {from: call, event: STEP_DONE, to: end}
"""


@pytest.fixture
async def t1(server: RunningServer) -> AsyncIterator[Tempo]:
    """Somebody who has nothing but the name of a tenant."""
    tenant_id = f"t1-{RandomIds().new().hex}"
    async with httpx2.AsyncClient(base_url=server.url, headers={"X-Tenant-Id": tenant_id}, timeout=30) as client:
        yield Tempo(client, tenant_id)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as found:
        yield found


async def transcript(server: RunningServer, t1: Tempo, session_id: str, query: str) -> tuple[list[Any], int | None]:
    """All frames of a socket and the code it was closed with."""
    url = f"{server.url.replace('http', 'ws', 1)}/ws/events/{session_id}?tenant_id={t1.tenant_id}{query}"
    frames: list[Any] = []
    async with asyncio.timeout(20), connect(url) as connection:
        try:
            while True:
                frames.append(json.loads(await connection.recv()))
        except ConnectionClosed as closed:
            return frames, closed.rcvd.code if closed.rcvd is not None else None


async def test_the_system_flow_is_as_it_is_described(t1: Tempo) -> None:
    flow = await t1.get("/api/registry/flows/echo_test_flow")
    assert flow["states"] == ["start", "echoed", "end"]
    assert flow["state_node_map"] == {"start": "builtin://echo"}
    assert flow["user_input_states"] == ["echoed"]
    assert flow["terminal_states"] == ["end"]
    assert flow["transitions"] == [
        {"from": "start", "event": "STEP_DONE", "to": "echoed", "fan_in": False},
        {"from": "echoed", "event": "USER_CONFIRM", "to": "end", "fan_in": False},
    ]


async def test_a_session_from_start_to_end_and_its_replay(server: RunningServer, t1: Tempo) -> None:
    started = await t1.post("/api/workflow/start", {"flow_id": "echo_test_flow", "params": {"input": "x"}})
    session_id = started["session_id"]
    assert started == {
        "session_id": session_id,
        "state": "echoed",
        "session_state": "waiting_user",
        "flow_id": "echo_test_flow",
        "ui_schema": ECHO_UI,
        "result": {"echo": "x"},
        "valid_events": ["USER_CONFIRM"],
    }

    state = await t1.state(session_id)
    times = {name: state[name] for name in ("created_at", "updated_at", "trace_id")}
    assert state == {
        "session_id": session_id,
        "current_state": "echoed",
        "session_state": "waiting_user",
        "flow_id": "echo_test_flow",
        "valid_events": ["USER_CONFIRM"],
        "control_events": ["PAUSE", "ABORT"],
        "active_states": ["echoed"],
        "pending_dependencies": [],
        "waiting_for": "user",
        "tick": 5,
        "error": None,
        "inherit_session": None,
        "successors": [],
        **times,
    }
    assert times["created_at"].endswith("Z")
    assert times["created_at"] <= times["updated_at"]

    refused = await t1.pushed(session_id, "BOGUS", 422)
    assert refused == {
        "code": "INVALID_TRANSITION",
        "message": "No transition from state 'echoed' on event 'BOGUS'",
        "trace_id": refused["trace_id"],
        "details": {
            "current_state": "echoed",
            "session_state": "waiting_user",
            "valid_events": ["USER_CONFIRM"],
            "tick": 5,
        },
    }

    answer = await t1.pushed(session_id, "USER_CONFIRM", payload={"a": 1})
    assert answer == {
        "new_state": "end",
        "session_state": "completed",
        "ui_schema": None,
        "result": None,
        "artifacts": {},
        "valid_events": [],
        "event_id": answer["event_id"],
        "tick": 6,
    }

    assert await t1.board(session_id) == {
        "_flow_id": "echo_test_flow",
        "_flow_version": 1,
        "_node_id": None,
        "_implicit": False,
        "_params": {"input": "x"},
        "_fsm_state": "end",
        "_current_state": "end",
        "_session_state": "completed",
        "_user_payload": {"a": 1},
        "result:start": {"echo": "x"},
        "echo_result": "x",
    }
    await the_replay(server, t1, session_id, times["trace_id"])


async def the_replay(server: RunningServer, t1: Tempo, session_id: str, trace_id: str) -> None:
    frames, code = await transcript(server, t1, session_id, "&after=0")
    assert code == 1000
    told = [(frame["tick"], frame["type"], frame["payload"]) for frame in frames]
    for _, kind, payload in told:
        if kind == "EVENT_RESULT":
            assert payload.pop("duration_ms") >= 0
    step = {"step": "start"}
    moved = {"valid_events": ["USER_CONFIRM"], "active_states": ["echoed"], "session_state": "waiting_user"}
    ended = {"valid_events": [], "active_states": ["end"], "session_state": "completed"}
    assert told == [
        (
            1,
            "SESSION_START",
            {
                "flow_id": "echo_test_flow",
                "flow_version": 1,
                "node_id": None,
                "params": {"input": "x"},
                "inherit_session": None,
                "from_step": None,
            },
        ),
        (2, "CMD_EXECUTE", {**step, "state": "start", "node_ref": "builtin://echo", "attempt": 1}),
        (
            3,
            "EVENT_RESULT",
            {
                **step,
                "status": "success",
                "result": {"echo": "x"},
                "ui_schema": ECHO_UI,
                "artifacts": {"echo_result": "x"},
            },
        ),
        (4, "STEP_DONE", {**step, "event": "STEP_DONE"}),
        (5, "STATE_TRANSITION", {"from_state": "start", "to_state": "echoed", "event": "STEP_DONE", **moved}),
        (6, "USER_CONFIRM", {"a": 1}),
        (7, "STATE_TRANSITION", {"from_state": "echoed", "to_state": "end", "event": "USER_CONFIRM", **ended}),
        (8, "SESSION_COMPLETE", {"state": "end", "result": {"echo": "x"}}),
    ]
    assert [frame["trace_id"] for frame in frames[:5]] == [trace_id] * 5
    assert len({frame["trace_id"] for frame in frames[5:]} - {trace_id}) == 1
    for frame in frames:
        assert set(frame) == {
            "id",
            "type",
            "source",
            "target",
            "tick",
            "payload",
            "created_at",
            "tenant_id",
            "session_id",
            "trace_id",
            "priority",
        }
        assert (frame["target"], frame["priority"], frame["tenant_id"]) == ("*", 5, t1.tenant_id)
        assert (frame["session_id"], type(frame["created_at"])) == (session_id, float)


async def test_the_metrics_count_it_without_a_tenant(server: RunningServer, t1: Tempo) -> None:
    async def counters() -> Any:
        async with httpx2.AsyncClient(base_url=server.url) as nobody:
            return (await nobody.get("/api/metrics")).json()["counters"]

    before = await counters()
    session_id = await t1.started({"flow_id": "echo_test_flow", "params": {"input": "x"}})
    await t1.pushed(session_id, "USER_CONFIRM")
    after = await counters()
    for name in ("sessions_total", "events_processed", "node_exec:echo"):
        assert after[name] >= before.get(name, 0) + 1, name


async def test_a_single_node(t1: Tempo) -> None:
    answer = await t1.post("/api/workflow/start", {"node_id": "echo", "params": {"input": "hi"}})
    assert answer == {
        "session_id": answer["session_id"],
        "state": "done",
        "session_state": "completed",
        "flow_id": None,
        "ui_schema": {"components": [{"type": "markdown", "props": {"content": "Echo: hi"}}]},
        "result": {"echo": "hi"},
        "valid_events": [],
    }


async def test_a_scratch_state(t1: Tempo) -> None:
    written = await t1.put("/api/state/test-session/my_key", {"data": 42})
    assert written == {"session_id": "test-session", "key": "my_key", "status": "written", "version": 1}
    found = await t1.get("/api/state/test-session/my_key")
    assert found == {"session_id": "test-session", "key": "my_key", "value": {"data": 42}}


async def test_a_webhook_round_trip(server: RunningServer, t1: Tempo, receiver: Receiver) -> None:
    await t1.registered("w", WEBHOOK_FLOW % json.dumps(receiver.url))
    started = await t1.post("/api/workflow/start", {"flow_id": "w", "params": {"n": 1}, "wait_ms": 300})
    session_id = started["session_id"]
    assert (started["state"], started["session_state"]) == ("call", "running")

    got = (await receiver.wait_for(1))[0]
    callback_url = got.json["callback_url"]
    assert got.json == {
        "session_id": session_id,
        "step": "call",
        "params": {"n": 1},
        "payload": None,
        "callback_url": callback_url,
        "callback_token": got.json["callback_token"],
        "tenant_id": t1.tenant_id,
        "trace_id": (await t1.state(session_id))["trace_id"],
        "attempt": 1,
        "deadline": got.json["deadline"],
    }
    assert callback_url.startswith(f"{server.url}/api/workflow/{session_id}/callback?ct=")
    assert got.headers["traceparent"].split("-")[1] == got.json["trace_id"]

    async def rests() -> bool:
        return bool((await t1.state(session_id))["waiting_for"] == "callback")

    await until(rests, "the wait for the callback")
    await calls_back(t1, session_id, got)
    events = await t1.events(session_id)
    told = next(event["payload"] for event in events if event["type"] == "CALLBACK_RECEIVED")
    assert told == {"step": "call", "status": "success", "accepted": True, "reason": ""}
    assert await the_types(server, t1, session_id) == [event["type"] for event in events]


async def the_types(server: RunningServer, t1: Tempo, session_id: str) -> list[str]:
    frames, code = await transcript(server, t1, session_id, "&after=0")
    assert code == 1000
    return [frame["type"] for frame in frames]


async def calls_back(t1: Tempo, session_id: str, got: Got) -> None:
    body = {"step": "call", "result": {"ok": True}}
    async with httpx2.AsyncClient(timeout=30) as nobody:
        bare = got.json["callback_url"].partition("?")[0]
        refused = await nobody.post(bare, json=body)
        assert (refused.status_code, refused.json()["code"]) == (401, "AUTHENTICATION_FAILED")
        assert set(refused.json()) == {"code", "message", "trace_id", "details"}
        taken = await nobody.post(got.json["callback_url"], json=body)
        assert (taken.status_code, taken.json()) == (
            200,
            {
                "status": "received",
                "session_id": session_id,
                "new_state": "end",
                "session_state": "completed",
                "result": {"ok": True},
            },
        )
        again = await nobody.post(got.json["callback_url"], json=body)
        assert (again.status_code, again.json()) == (
            200,
            {"status": "duplicate", "session_id": session_id, "new_state": "end", "session_state": "completed"},
        )
    assert (await t1.types(session_id)).count("CALLBACK_RECEIVED") == 1


async def test_a_registered_node_signs_with_its_secret(t1: Tempo, receiver: Receiver) -> None:
    node = {"node_id": "small_svc", "endpoint": receiver.url, "name": "Small"}
    secret = (await t1.post("/api/registry/nodes", node))["callback_secret"]
    answer = await t1.post("/api/workflow/start", {"node_id": "small_svc", "params": {"n": 1}, "wait_ms": 300})
    assert (answer["state"], answer["flow_id"]) == ("execute", None)
    got = (await receiver.wait_for(1))[0]
    Outside(secret).verify(got.body, got.headers)
    assert (got.json["step"], got.json["params"]) == ("execute", {"n": 1})
    async with httpx2.AsyncClient(timeout=30) as nobody:
        taken = await nobody.post(got.json["callback_url"], json={"step": "execute", "result": 7})
        assert (taken.status_code, taken.json()["new_state"]) == (200, "done")
    metrics = await t1.get("/api/metrics")
    assert metrics["counters"]["node_exec:small_svc"] >= 1
    assert metrics["histogram_node_latency:small_svc"]["count"] >= 1


async def test_two_confirmations_at_once(t1: Tempo) -> None:
    session_id = await t1.started({"flow_id": "echo_test_flow", "params": {"input": "x"}})
    path = f"/api/workflow/{session_id}/event"
    answers = await asyncio.gather(*(t1.http.post(path, json={"event_type": "USER_CONFIRM"}) for _ in range(2)))
    assert sorted(answer.status_code for answer in answers) in ([200, 409], [200, 422])
    lost = next(answer.json() for answer in answers if answer.status_code != 200)
    assert lost["code"] in ("STATE_CONFLICT", "INVALID_TRANSITION")
    assert (await t1.types(session_id)).count("USER_CONFIRM") == 1
