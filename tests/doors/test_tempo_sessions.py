"""Sessions over HTTP: the worked examples of this door, literally, and the cases around them."""

from __future__ import annotations

import asyncio

import httpx2

from doors.conftest import BASE, House
from doors.tempo_house import Tempo

ECHO = {"flow_id": "echo_test_flow", "params": {"input": "x"}}


async def test_the_echo_flow_as_the_contract_plays_it(tempo: Tempo) -> None:
    started = await tempo.post("/api/workflow/start", ECHO)
    session_id = started.pop("session_id")
    assert started == {
        "state": "echoed",
        "session_state": "waiting_user",
        "flow_id": "echo_test_flow",
        "ui_schema": {"components": [{"type": "markdown", "props": {"content": "Echo: x"}}]},
        "result": {"echo": "x"},
        "valid_events": ["USER_CONFIRM"],
    }

    state = await tempo.call("GET", f"/api/workflow/{session_id}/state")
    expected = {
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
    }
    assert {key: state[key] for key in expected} == expected

    for unlike in ("u\u017fer_confirm", "user_conf\u0131rm", "stra\u00dfe"):  # in upper case they are plain letters
        refused = await tempo.post(f"/api/workflow/{session_id}/event", {"event_type": unlike}, 422)
        assert refused["code"] == "VALIDATION_ERROR"
    bogus = await tempo.post(f"/api/workflow/{session_id}/event", {"event_type": "BOGUS"}, 422)
    assert bogus["code"] == "INVALID_TRANSITION"
    assert bogus["message"] == "No transition from state 'echoed' on event 'BOGUS'"
    assert bogus["trace_id"]
    assert bogus["details"]["current_state"] == "echoed"
    assert bogus["details"]["session_state"] == "waiting_user"
    assert bogus["details"]["valid_events"] == ["USER_CONFIRM"]

    told = {"event_type": "USER_CONFIRM", "payload": {"a": 1}}
    ended = await tempo.post(f"/api/workflow/{session_id}/event", told)
    assert ended.pop("event_id")
    assert ended == {
        "new_state": "end",
        "session_state": "completed",
        "ui_schema": None,
        "result": None,
        "artifacts": {},
        "valid_events": [],
        "tick": 6,
    }

    board = (await tempo.call("GET", f"/api/state/{session_id}"))["state"]
    expected = {
        "_flow_id": "echo_test_flow",
        "_session_state": "completed",
        "_params": {"input": "x"},
        "_fsm_state": "end",
        "_current_state": "end",
        "_user_payload": {"a": 1},
        "_implicit": False,
        "echo_result": "x",
        "result:start": {"echo": "x"},
    }
    assert {key: board[key] for key in expected} == expected

    late = await tempo.post(f"/api/workflow/{session_id}/event", told, 422)
    assert late["message"] == "No transition from state 'end' on event 'USER_CONFIRM'"


async def test_metrics_count_sessions_and_nodes_without_a_tenant(tempo: Tempo, house: House) -> None:
    await tempo.started(ECHO)
    transport = httpx2.ASGITransport(app=house.app())
    async with asyncio.timeout(5), httpx2.AsyncClient(transport=transport, base_url=BASE) as nobody:
        answer = await nobody.get("/api/metrics")
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["counters"]["sessions_total"] >= 1
    assert told["counters"]["node_exec:echo"] >= 1
    assert told["histogram_node_latency:echo"]["count"] >= 1
    assert told["gauges"]["flows_registered"] >= 1


async def test_a_single_node_is_a_session_that_is_done(tempo: Tempo) -> None:
    answer = await tempo.post("/api/workflow/start", {"node_id": "echo", "params": {"input": "hi"}})
    assert (answer["state"], answer["session_state"], answer["flow_id"]) == ("done", "completed", None)
    assert answer["ui_schema"]["components"][0]["props"]["content"] == "Echo: hi"
    board = (await tempo.call("GET", f"/api/state/{answer['session_id']}"))["state"]
    assert (board["_implicit"], board["_node_id"], board["_flow_id"]) == (True, "echo", None)


async def test_a_node_that_fails_ends_in_error(tempo: Tempo) -> None:
    told = {"node_id": "transform", "params": {"source_artifact": "nothing"}}
    answer = await tempo.post("/api/workflow/start", told)
    assert answer["state"] == "error"


async def test_what_a_start_names_must_be_there(tempo: Tempo) -> None:
    assert (await tempo.post("/api/workflow/start", {}, 400))["code"] == "INVALID_REQUEST"
    assert (await tempo.post("/api/workflow/start", {"flow_id": "no"}, 404))["code"] == "FLOW_NOT_FOUND"
    assert (await tempo.post("/api/workflow/start", {"node_id": "no"}, 404))["code"] == "NODE_NOT_FOUND"
    told = {**ECHO, "inherit_session": "no"}
    assert (await tempo.post("/api/workflow/start", told, 404))["code"] == "SESSION_NOT_FOUND"
    told = {**ECHO, "from_step": "no"}
    assert (await tempo.post("/api/workflow/start", told, 422))["code"] == "VALIDATION_ERROR"
    assert (await tempo.post("/api/workflow/start", {**ECHO, "params": {"a": "x" * 300_000}}, 413))["code"]


async def test_a_flow_wins_over_a_node(tempo: Tempo) -> None:
    answer = await tempo.post("/api/workflow/start", {**ECHO, "node_id": "no"})
    assert answer["flow_id"] == "echo_test_flow"


async def test_the_client_may_choose_the_id_of_a_session_once(tempo: Tempo) -> None:
    told = {**ECHO, "session_id": "order:42"}
    first = await tempo.post("/api/workflow/start", told)
    assert first["session_id"] == "order:42"
    assert await tempo.post("/api/workflow/start", told) == first
    other = {**told, "params": {"input": "y"}}
    assert (await tempo.post("/api/workflow/start", other, 409))["code"] == "CONFLICT"
    await tempo.post("/api/workflow/order:42/event", {"event_type": "user_confirm"})
    assert (await tempo.call("GET", "/api/workflow/order:42/state"))["session_state"] == "completed"
    assert await tempo.post("/api/workflow/start", told) == first


async def test_two_starts_with_one_id_at_once_are_one(tempo: Tempo) -> None:
    told = {**ECHO, "session_id": "same"}
    answers = await asyncio.gather(*(tempo.post("/api/workflow/start", told) for _ in range(5)))
    assert answers == answers[:1] * 5


async def test_a_key_makes_starts_and_events_safe_to_repeat(tempo: Tempo) -> None:
    first = await tempo.post("/api/workflow/start", ECHO, idempotency_key="k1")
    assert await tempo.post("/api/workflow/start", ECHO, idempotency_key="k1") == first
    path = f"/api/workflow/{first['session_id']}/event"
    told = {"event_type": "USER_CONFIRM", "event_id": "e1"}
    assert await tempo.post(path, told) == await tempo.post(path, told)
    assert (await tempo.types(first["session_id"])).count("USER_CONFIRM") == 1


async def test_a_repeat_says_that_it_is_one_and_another_body_is_refused(tempo: Tempo) -> None:
    session_id = await tempo.started(ECHO)
    path = f"/api/workflow/{session_id}/event"
    told = {"event_type": "USER_CONFIRM", "payload": {"a": 1}}
    for headers, more in (({"idempotency-key": "k"}, {}), ({}, {"event_id": "k"})):
        answers = [await tempo.http.post(path, json={**told, **more}, headers=headers) for _ in range(2)]
        assert [answer.headers.get("idempotency-replayed") for answer in answers] in ([None, "true"], [None, None])
        assert answers[0].json()["event_id" if answers[0].status_code == 200 else "code"] in ("k", "INVALID_TRANSITION")
        other = await tempo.http.post(path, json={**told, **more, "payload": {"a": 2}}, headers=headers)
        assert other.status_code == 422
        if answers[0].status_code == 200:
            assert answers[0].json() == answers[1].json()
            assert other.json()["code"] == "IDEMPOTENCY_MISMATCH"
    assert (await tempo.types(session_id)).count("USER_CONFIRM") == 1


async def test_the_same_request_written_differently_is_the_same(tempo: Tempo) -> None:
    first = await tempo.post("/api/workflow/start", {**ECHO, "session_id": "s"})
    turned = {"wait_ms": 5, "session_id": "s", "params": ECHO["params"], "flow_id": ECHO["flow_id"], "node_id": None}
    assert await tempo.post("/api/workflow/start", turned) == first


async def test_paths_of_this_door_that_lead_nowhere_are_refused_in_its_words(tempo: Tempo) -> None:
    for path in ("/api/workflow/x/nope", "/api/registry/nope", "/api/state/a/b/c", "/api/llm/nope"):
        refused = await tempo.get(path, 404)
        assert (set(refused), refused["code"]) == ({"code", "message", "trace_id", "details"}, "NOT_FOUND")
    assert "title" in await tempo.get("/api/invalid/endpoint", 404)


async def test_of_two_events_at_once_one_wins(tempo: Tempo) -> None:
    session_id = await tempo.started(ECHO)
    path = f"/api/workflow/{session_id}/event"
    answers = await asyncio.gather(*(tempo.http.post(path, json={"event_type": "USER_CONFIRM"}) for _ in range(2)))
    lost = next(answer for answer in answers if answer.status_code != 200)
    assert sorted(answer.status_code for answer in answers) in ([200, 409], [200, 422])
    assert lost.json()["code"] in ("STATE_CONFLICT", "INVALID_TRANSITION")
    assert (await tempo.types(session_id)).count("USER_CONFIRM") == 1


async def test_an_event_may_expect_a_state(tempo: Tempo) -> None:
    session_id = await tempo.started(ECHO)
    told = {"event_type": "USER_CONFIRM", "expected_state": "start"}
    refused = await tempo.post(f"/api/workflow/{session_id}/event", told, 409)
    assert refused["code"] == "STATE_CONFLICT"
    assert refused["details"]["current_state"] == "echoed"
    assert refused["details"]["tick"] == 5


async def test_pause_and_resume(tempo: Tempo) -> None:
    session_id = await tempo.started(ECHO)
    path = f"/api/workflow/{session_id}/event"
    paused = await tempo.post(path, {"event_type": "pause", "payload": {"reason": "lunch"}})
    assert (paused["new_state"], paused["session_state"]) == ("echoed", "paused")
    assert (await tempo.post(path, {"event_type": "USER_CONFIRM"}, 409))["code"] == "SESSION_PAUSED"
    assert (await tempo.post(path, {"event_type": "RESUME"}))["session_state"] == "waiting_user"
    assert (await tempo.post(path, {"event_type": "USER_CONFIRM"}))["session_state"] == "completed"
    assert (await tempo.types(session_id))[5:7] == ["SESSION_PAUSE", "SESSION_RESUME"]


async def test_a_stopped_session_takes_nothing_more(tempo: Tempo) -> None:
    session_id = await tempo.started(ECHO)
    stopped = {"status": "terminated", "session_id": session_id, "session_state": "error"}
    for _ in range(2):
        assert await tempo.call("DELETE", f"/api/workflow/{session_id}", json={"reason": "enough"}) == stopped
    refused = await tempo.post(f"/api/workflow/{session_id}/event", {"event_type": "USER_CONFIRM"}, 409)
    assert refused["code"] == "SESSION_CLOSED"
    board = (await tempo.call("GET", f"/api/state/{session_id}"))["state"]
    assert (board["_session_state"], board["signal:abort"], board["_abort_reason"]) == ("error", True, "enough")
    assert (await tempo.types(session_id))[-2:] == ["ABORT", "SESSION_ABORT"]


async def test_a_completed_session_stays_so(tempo: Tempo) -> None:
    session_id = await tempo.started({"node_id": "echo"})
    assert (await tempo.call("DELETE", f"/api/workflow/{session_id}"))["session_state"] == "completed"


async def test_unknown_sessions(tempo: Tempo) -> None:
    for unknown in ("nope", "01890000-0000-7000-8000-000000000000"):
        for method, path in (("GET", "/state"), ("DELETE", "")):
            refused = await tempo.call(method, f"/api/workflow/{unknown}{path}", 404)
            assert refused["code"] == "SESSION_NOT_FOUND"
        assert (await tempo.post(f"/api/workflow/{unknown}/event", {"event_type": "X"}, 404))["code"]
        assert (await tempo.call("GET", f"/api/workflow/{unknown}/events"))["events"] == []
        assert (await tempo.call("GET", f"/api/state/{unknown}"))["state"] == {}
        assert (await tempo.call("GET", f"/api/state/{unknown}/k"))["value"] is None


async def test_every_event_is_told_with_its_trace_and_a_stable_id(tempo: Tempo) -> None:
    told = {"X-Trace-Id": "abc"}
    answer = await tempo.call("POST", "/api/workflow/start", json=ECHO, headers=told)
    path = f"/api/workflow/{answer['session_id']}"
    told = {"X-Trace-Id": "def"}
    await tempo.call("POST", f"{path}/event", json={"event_type": "USER_CONFIRM", "payload": {"a": 1}}, headers=told)
    page = await tempo.call("GET", f"{path}/events")
    events = page["events"]
    assert [event["type"] for event in events] == [
        "SESSION_START",
        "CMD_EXECUTE",
        "EVENT_RESULT",
        "STEP_DONE",
        "STATE_TRANSITION",
        "USER_CONFIRM",
        "STATE_TRANSITION",
        "SESSION_COMPLETE",
    ]
    assert [event["tick"] for event in events] == list(range(1, 9))
    assert [event["trace_id"] for event in events] == ["abc"] * 5 + ["def"] * 3
    assert events[1]["payload"] == {
        "step": "start",
        "state": "start",
        "node_ref": "builtin://echo",
        "attempt": 1,
    }
    assert events[4]["payload"]["session_state"] == "waiting_user"
    assert events[5]["payload"] == {"a": 1}
    assert events[6]["payload"]["from_state"] == "echoed"
    assert events[6]["payload"]["to_state"] == "end"
    assert {event["tenant_id"] for event in events} == {tempo.tenant_id}
    assert len({event["id"] for event in events}) == 8
    assert page["has_more"] is False
    part = await tempo.call("GET", f"{path}/events?after=2&limit=3")
    assert part["events"] == events[2:5]
    assert (part["count"], part["next_after"], part["has_more"]) == (3, 5, True)


async def test_refusals_have_the_envelope_of_this_door(tempo: Tempo, nobody: httpx2.AsyncClient) -> None:
    answers = [
        await nobody.get("/api/registry/nodes"),
        await tempo.http.post("/api/workflow/start", content=b"{"),
        await tempo.http.post("/api/workflow/start", json={"params": 1}),
        await tempo.http.put("/api/workflow/start", json={}),
        await tempo.http.get("/api/workflow/x/events?limit=0"),
    ]
    assert [answer.status_code for answer in answers] == [401, 400, 422, 405, 422]
    for answer in answers:
        assert set(answer.json()) == {"code", "message", "trace_id", "details"}, answer.text
    assert answers[0].json()["code"] == "AUTHENTICATION_FAILED"
    assert answers[2].json()["details"]["errors"][0]["field"] == "params"


async def test_who_did_it_is_written_down(tempo: Tempo) -> None:
    ann, ben = ({"X-User-Id": name} for name in ("ann", "ben"))
    started = await tempo.call("POST", "/api/workflow/start", json=ECHO, headers=ann)
    path = f"/api/workflow/{started['session_id']}"
    await tempo.call("PUT", f"/api/state/{started['session_id']}/k", json={"value": 1}, headers=ben)
    await tempo.call("POST", f"{path}/event", json={"event_type": "PAUSE"}, headers={"X-User-Id": "not a name"})
    await tempo.call("DELETE", path, headers=ben)
    sources = {event["type"]: event["source"] for event in await tempo.events(started["session_id"])}
    assert (sources["SESSION_START"], sources["STATE_WRITTEN"], sources["SESSION_PAUSE"]) == ("ann", "ben", "local")
    assert (sources["ABORT"], sources["SESSION_ABORT"]) == ("ben", "ben")


async def test_a_node_that_is_not_listed_cannot_be_started(tempo: Tempo) -> None:
    for node_id in ("map", "trigger", "webhook"):
        assert (await tempo.post("/api/workflow/start", {"node_id": node_id}, 404))["code"] == "NODE_NOT_FOUND"


async def test_the_reason_of_a_stop_has_an_end(tempo: Tempo) -> None:
    session_id = await tempo.started(ECHO)
    path = f"/api/workflow/{session_id}"
    await tempo.call("DELETE", path, 422, json={"reason": "x" * 2001})
    assert (await tempo.state(session_id))["session_state"] == "waiting_user"
    await tempo.call("DELETE", path, json={"reason": "x" * 2000})
