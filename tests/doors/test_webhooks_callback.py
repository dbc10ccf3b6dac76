"""A flow calls a webhook, which calls back: once, and never too late."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from aiohttp import web

from interlock.services.callbacks import receive
from webhook_house import CALL, Got, Receiver, call_back, receiving, start, token_of, until, waiting


@pytest.fixture
async def receiver() -> Any:
    async with receiving() as found:
        yield found


DONE = {"step": "call", "result": {"ok": True}}


async def test_the_worked_example_of_a_round_trip(caller: Any, nobody: httpx2.AsyncClient, receiver: Receiver) -> None:
    session_id = await start(caller, receiver.url)
    got = (await receiver.wait_for(1))[0]
    body = got.json
    assert set(body) == {
        "session_id",
        "step",
        "params",
        "payload",
        "callback_url",
        "callback_token",
        "tenant_id",
        "trace_id",
        "attempt",
        "deadline",
    }
    assert (body["session_id"], body["step"], body["params"], body["attempt"]) == (session_id, "call", {"n": 1}, 1)
    assert body["callback_url"].startswith(f"http://127.0.0.1:8000/api/workflow/{session_id}/callback?ct=")
    assert got.headers["idempotency-key"] == got.headers["webhook-id"].removeprefix("msg_")
    assert body["tenant_id"] == caller.tenant_id
    await waiting(caller, session_id)
    refused = await call_back(nobody, session_id, DONE)
    assert (refused.status_code, refused.json()["code"]) == (401, "AUTHENTICATION_FAILED")
    taken = await call_back(nobody, session_id, DONE, token_of(got))
    assert taken.status_code == 200, taken.text
    assert taken.json() == {
        "status": "received",
        "session_id": session_id,
        "new_state": "end",
        "session_state": "completed",
        "result": {"ok": True},
    }
    again = await call_back(nobody, session_id, DONE, token_of(got))
    assert (again.status_code, again.json()["status"]) == (200, "duplicate")
    assert again.json()["session_state"] == "completed"


async def test_callbacks_after_the_end_are_ignored_and_told_behind_it(
    caller: Any, nobody: httpx2.AsyncClient, receiver: Receiver
) -> None:
    session_id = await start(caller, receiver.url)
    token = token_of((await receiver.wait_for(1))[0])
    await waiting(caller, session_id)
    assert (await call_back(nobody, session_id, DONE, token)).json()["status"] == "received"
    for result in ("other", "another", "other"):
        late = await call_back(nobody, session_id, {"step": "call", "result": result}, token)
        assert late.json() == {"status": "ignored", "session_id": session_id, "reason": "session completed"}
    log = (await caller.http.get(f"/api/workflow/{session_id}/events")).json()["events"]
    assert [event["tick"] for event in log] == list(range(1, len(log) + 1))
    assert [event["type"] for event in log[-3:]] == ["SESSION_COMPLETE", "CALLBACK_RECEIVED", "CALLBACK_RECEIVED"]
    told = log[-1]["payload"]
    assert (told["step"], told["accepted"], told["reason"]) == ("call", False, "session completed")
    state = (await caller.http.get(f"/api/workflow/{session_id}/state")).json()
    assert (state["current_state"], state["session_state"], state["tick"]) == ("end", "completed", log[-1]["tick"])


async def test_a_stream_tells_late_callbacks_and_ends(
    caller: Any, nobody: httpx2.AsyncClient, receiver: Receiver
) -> None:
    session_id = await start(caller, receiver.url)
    token = token_of((await receiver.wait_for(1))[0])
    await waiting(caller, session_id)
    await caller.http.delete(f"/api/workflow/{session_id}")
    await call_back(nobody, session_id, DONE, token)
    last = (await caller.http.get(f"/api/workflow/{session_id}/state")).json()["tick"]
    for after in (0, last - 2, last - 1):
        answer = await caller.get(f"/executions/{session_id}/stream?last_event_id={after}")
        assert answer.status_code == 200, answer.text
        numbers = [int(line[3:]) for line in answer.text.splitlines() if line.startswith("id:")]
        assert numbers == list(range(after + 1, last + 1))


async def test_late_callbacks_do_not_fill_the_database(
    caller: Any, nobody: httpx2.AsyncClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receive, "MAX_LATE", 3)
    session_id = await start(caller, receiver.url)
    token = token_of((await receiver.wait_for(1))[0])
    await waiting(caller, session_id)
    await caller.http.delete(f"/api/workflow/{session_id}")
    before = (await caller.http.get(f"/api/workflow/{session_id}/state")).json()["tick"]
    for number in range(6):
        late = await call_back(nobody, session_id, {"step": "call", "result": number}, token)
        assert late.json()["status"] == "ignored"
    assert (await caller.http.get(f"/api/workflow/{session_id}/state")).json()["tick"] == before + 3


async def test_after_a_hard_stop_a_callback_changes_nothing(
    caller: Any, nobody: httpx2.AsyncClient, receiver: Receiver
) -> None:
    session_id = await start(caller, receiver.url)
    token = token_of((await receiver.wait_for(1))[0])
    await waiting(caller, session_id)
    assert (await caller.http.delete(f"/api/workflow/{session_id}")).status_code == 200
    late = await call_back(nobody, session_id, DONE, token)
    assert (late.status_code, late.json()["status"]) == (200, "ignored")
    assert (await caller.http.get(f"/api/workflow/{session_id}/state")).json()["session_state"] == "error"


async def test_a_webhook_that_calls_back_before_it_answers_is_heard(
    caller: Any, nobody: httpx2.AsyncClient, receiver: Receiver
) -> None:
    answers = []

    async def at_once(got: Got) -> web.Response:
        answers.append(await call_back(nobody, got.json["session_id"], DONE, token_of(got)))
        return web.Response(status=202)

    receiver.handler = at_once
    session_id = await start(caller, receiver.url, wait_ms=10_000)
    state = (await caller.http.get(f"/api/workflow/{session_id}/state")).json()
    assert (state["current_state"], state["session_state"]) == ("end", "completed")

    async def answered() -> bool:
        return bool(answers)

    await until(answered, "the answer to the callback")
    assert answers[0].json()["status"] == "received"


async def test_a_result_in_the_answer_completes_the_step_at_once(caller: Any, receiver: Receiver) -> None:
    told = {"status": "success", "result": {"x": 1}, "artifacts": {"made": [1]}}
    receiver.answers = [web.json_response(told)]
    session_id = await start(caller, receiver.url, wait_ms=10_000)
    board = (await caller.http.get(f"/api/state/{session_id}")).json()["state"]
    assert board["made"] == [1]
    assert board["_session_state"] == "completed"


BRANCH = """states: [call, good, bad]
state_node_map: {call: %s}
transitions:
  - {from: call, event: GO, to: good}
  - {from: call, event: ERROR, to: bad}
"""


@pytest.mark.parametrize(
    ("body", "state"),
    [
        ({"result": {"status": "success", "result": 1, "next_events": ["GO"]}}, "good"),
        ({"result": 1, "next_events": ["GO"]}, "good"),
        ({"status": "error", "error_message": "no"}, "bad"),
        ({"result": {"status": "error", "error_message": "no"}}, "bad"),
    ],
)
async def test_what_is_called_back_is_read_like_the_result_of_a_node(
    caller: Any, nobody: httpx2.AsyncClient, receiver: Receiver, body: dict[str, Any], state: str
) -> None:
    session_id = await start(caller, receiver.url, flow=BRANCH)
    token = token_of((await receiver.wait_for(1))[0])
    await waiting(caller, session_id)
    answer = await call_back(nobody, session_id, {"step": "call", **body}, token)
    assert (answer.status_code, answer.json()["new_state"]) == (200, state)


async def test_a_webhook_may_ask_the_user_and_is_called_again_with_the_answer(
    caller: Any, nobody: httpx2.AsyncClient, receiver: Receiver
) -> None:
    session_id = await start(caller, receiver.url)
    first = (await receiver.wait_for(1))[0]
    await waiting(caller, session_id)
    ask = {"step": "call", "status": "need_user_input", "ui_schema": {"components": []}}
    answer = (await call_back(nobody, session_id, ask, token_of(first))).json()
    assert (answer["new_state"], answer["session_state"]) == ("call", "waiting_user")
    evil = {"n": 2, "_webhook": {"endpoint": "http://127.0.0.1:1/stolen"}}
    pushed = await caller.http.post(
        f"/api/workflow/{session_id}/event", json={"event_type": "USER_INPUT", "payload": evil, "wait_ms": 200}
    )
    assert pushed.status_code == 200, pushed.text
    second = (await receiver.wait_for(2))[1]
    assert second.json["params"] == {"n": 2}
    await waiting(caller, session_id)
    stale = await call_back(nobody, session_id, DONE, token_of(first))
    assert stale.json()["status"] == "ignored", "the token of the first visit opens nothing any more"
    assert (await call_back(nobody, session_id, DONE, token_of(second))).json()["status"] == "received"


async def test_a_superseded_attempt_is_ignored_and_written_down(
    caller: Any, nobody: httpx2.AsyncClient, receiver: Receiver
) -> None:
    flow = CALL + "retry: {call: {max_attempts: 2, base_seconds: 0.05, max_seconds: 0.05}}\n"
    receiver.answers = [web.Response(status=503)]
    session_id = await start(caller, receiver.url, flow=flow)
    first, second = await receiver.wait_for(2)
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert [got.json["attempt"] for got in (first, second)] == [1, 2]
    await waiting(caller, session_id)
    stale = await call_back(nobody, session_id, DONE, token_of(first))
    assert stale.json() == {"status": "ignored", "session_id": session_id, "reason": "attempt superseded"}
    log = (await caller.http.get(f"/api/workflow/{session_id}/events")).json()["events"]
    told = [event["payload"] for event in log if event["type"] == "CALLBACK_RECEIVED"]
    assert [(one["accepted"], one["reason"]) for one in told] == [(False, "attempt superseded")]
    assert (await call_back(nobody, session_id, DONE, token_of(second))).json()["status"] == "received"


async def test_no_callback_before_the_deadline_fails_the_session(caller: Any, receiver: Receiver) -> None:
    flow = CALL + "timeouts: {call: 2}\n"  # time enough for the call to begin on a busy machine
    session_id = await start(caller, receiver.url, flow=flow)
    await receiver.wait_for(1)

    async def failed() -> Any:
        state = (await caller.http.get(f"/api/workflow/{session_id}/state")).json()
        return state if state["session_state"] == "error" else None

    state = await until(failed, "the deadline")
    assert state["error"]["code"] == "TIMEOUT"


async def test_redirects_and_refusals_fail_the_step_without_another_call(caller: Any, receiver: Receiver) -> None:
    """J3."""
    receiver.answers = [web.Response(status=302, headers={"location": receiver.url + "/elsewhere"})]
    session_id = await start(caller, receiver.url, wait_ms=10_000)
    state = (await caller.http.get(f"/api/workflow/{session_id}/state")).json()
    assert (state["session_state"], state["error"]["code"]) == ("error", "HTTP_STATUS")
    assert [got.path for got in receiver.got] == ["/hook"]


async def test_the_same_callback_id_counts_once_whatever_the_body(
    caller: Any, nobody: httpx2.AsyncClient, receiver: Receiver
) -> None:
    """J6."""
    session_id = await start(caller, receiver.url, flow=CALL.replace("[call, end]", "[call, rest, end]"))
    token = token_of((await receiver.wait_for(1))[0])
    await waiting(caller, session_id)
    body = {**DONE, "callback_id": "c-1"}
    assert (await call_back(nobody, session_id, body, token)).json()["status"] == "received"
    assert (await call_back(nobody, session_id, {**body, "result": 2}, token)).json()["status"] == "duplicate"


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 422),
        (b'{"result": 1}', "application/json", 422),
        (b'{"step": "call", "step": "call"}', "application/json", 400),
        (b'{"step": "call", "artifacts": {"_session_state": "x"}}', "application/json", 422),
        (b'{"step": "call", "status": "odd"}', "application/json", 422),
        (b"files.a.filepath=/etc/passwd", "application/x-www-form-urlencoded", 415),
    ],
)
async def test_bodies_that_are_no_callback_are_refused(caller: Any, content: bytes, kind: str, status: int) -> None:
    """J6."""
    path = "/api/workflow/01990000-0000-7000-8000-000000000001/callback"
    answer = await caller.http.post(path, content=content, headers={"content-type": kind})
    assert answer.status_code == status, answer.text


async def test_a_single_node_session_may_be_a_webhook(
    caller: Any, nobody: httpx2.AsyncClient, receiver: Receiver
) -> None:
    told = {"node_id": "one", "endpoint": receiver.url, "name": "One"}
    assert (await caller.http.post("/api/registry/nodes", json=told)).status_code == 200
    begun = await caller.http.post("/api/workflow/start", json={"node_id": "one", "params": {"q": 1}, "wait_ms": 200})
    assert begun.status_code == 200, begun.text
    assert (begun.json()["state"], begun.json()["session_state"]) == ("execute", "running")
    got = (await receiver.wait_for(1))[0]
    assert got.json["params"] == {"q": 1}
    body = {"step": "execute", "result": 5}
    answer = await call_back(nobody, begun.json()["session_id"], body, token_of(got))
    assert (answer.json()["new_state"], answer.json()["session_state"]) == ("done", "completed")


async def test_what_a_result_leaves_out_is_taken_from_beside_it(caller: Any, receiver: Receiver) -> None:
    session_id = await start(caller, receiver.url)
    await receiver.wait_for(1)
    await waiting(caller, session_id)
    body = {"step": "call", "result": {"status": "error"}, "error_message": "boom"}
    path = f"/api/workflow/{session_id}/callback"
    assert (await caller.http.post(path, json=body)).status_code == 200
    events = (await caller.http.get(f"/api/workflow/{session_id}/events")).json()["events"]
    failed = next(event for event in events if event["type"] == "EVENT_ERROR")
    assert failed["payload"]["error"]["message"] == "boom"
    assert "NOTIFICATION" not in {event["type"] for event in events}, "only a node notifies"
    assert [event["payload"]["waits_for"] for event in events if event["type"] == "STEP_WAITING"] == ["callback"]
