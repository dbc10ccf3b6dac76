"""How flows move at the tempo door: chains, choices, forks, questions, inheritance, pauses."""

from __future__ import annotations

import asyncio

import pytest

from doors.conftest import House
from doors.tempo_house import Tempo
from webhook_house import receiving

ORDER = """
name: order_flow
states: [check, big, small, confirm, end]
initial_state: check
state_node_map: {check: builtin://conditional, big: echo, small: builtin://echo}
state_params: {check: {key: amount, operator: gt, value: 100, true_event: BIG, false_event: SMALL}}
user_input_states: [confirm]
terminal_states: [end]
transitions:
  - {from: check, event: BIG, to: big}
  - {from: check, event: SMALL, to: small}
  - {from: [big, small], event: STEP_DONE, to: confirm}
  - {from: confirm, event: USER_CONFIRM, to: end}
"""
FORK = """
states: [begin, a, b, merge, end]
user_input_states: [begin, b]
state_node_map: {a: echo, merge: echo}
transitions:
  - {from: begin, event: GO, to: [a, b]}
  - {from: [a, b], event: ALL_DONE, to: merge, fan_in: true}
  - {from: merge, event: STEP_DONE, to: end}
"""
JOIN = """
states: [begin, a, b, merge, end]
state_node_map: {begin: echo, a: echo, b: echo, merge: echo}
transitions:
  - {from: begin, event: STEP_DONE, to: [a, b]}
  - {from: [a, b], event: ALL_DONE, to: merge, fan_in: true}
  - {from: merge, event: STEP_DONE, to: end}
"""


async def test_conditional_nodes_choose_and_node_states_chain(tempo: Tempo) -> None:
    await tempo.registered("orders-1", ORDER)
    big = await tempo.post("/api/workflow/start", {"flow_id": "orders-1", "params": {"amount": 150}})
    assert (big["state"], big["session_state"], big["flow_id"]) == ("confirm", "waiting_user", "orders-1")
    moved = [event["payload"]["to_state"] for event in await tempo.events(big["session_id"]) if _moved(event)]
    assert moved == ["big", "confirm"]
    small = await tempo.started({"flow_id": "orders-1", "params": {"amount": 1}})
    assert (await tempo.board(small))["result:check"] == {"condition_met": False, "chosen_event": "SMALL"}
    assert (await tempo.pushed(small, "USER_CONFIRM"))["new_state"] == "end"


def _moved(event: dict[str, object]) -> bool:
    return event["type"] == "STATE_TRANSITION"


async def test_an_event_that_runs_nodes_answers_with_what_they_said(tempo: Tempo) -> None:
    text = """
states: [ask, work, end]
user_input_states: [ask]
state_node_map: {work: echo}
transitions:
  - {from: ask, event: GO, to: work}
  - {from: work, event: STEP_DONE, to: end}
"""
    await tempo.registered("asking", text)
    session_id = await tempo.started({"flow_id": "asking", "params": {"input": "w"}})
    answer = await tempo.pushed(session_id, "GO", event_id="once")
    assert (answer["new_state"], answer["session_state"]) == ("end", "completed")
    assert answer["result"] == {"echo": "w"}
    assert answer["artifacts"] == {"echo_result": "w"}
    assert answer["ui_schema"]["components"][0]["props"]["content"] == "Echo: w"
    assert await tempo.pushed(session_id, "GO", event_id="once") == answer


async def test_a_flow_without_transitions_is_done_at_once(tempo: Tempo) -> None:
    await tempo.registered("plain", "states: [a, b]")
    answer = await tempo.post("/api/workflow/start", {"flow_id": "plain"})
    assert (answer["state"], answer["session_state"]) == ("a", "completed")


async def test_a_fork_runs_its_branches_and_the_join_fires_once(tempo: Tempo) -> None:
    await tempo.registered("join", JOIN)
    session_id = await tempo.started({"flow_id": "join", "params": {"input": 1}})
    assert (await tempo.state(session_id))["session_state"] == "completed"
    events = await tempo.events(session_id)
    forked = next(event["payload"] for event in events if _moved(event))
    assert forked["active_states"] == ["a", "b"]
    assert [event["type"] for event in events].count("ALL_DONE") == 1
    assert [event["payload"]["step"] for event in events if event["type"] == "CMD_EXECUTE"][-1] == "merge"


async def test_a_branch_that_leaves_its_fork_by_an_error_lets_nobody_wait_for_ever(tempo: Tempo) -> None:
    text = JOIN.replace("a: echo", "a: transform") + "  - {from: a, event: ERROR, to: merge}\n"
    await tempo.registered("leaves", text + "state_params: {a: {source_artifact: none}}\n")
    answer = await tempo.post("/api/workflow/start", {"flow_id": "leaves", "params": {"input": 1}})
    assert (answer["state"], answer["session_state"]) == ("end", "completed")
    events = await tempo.events(answer["session_id"])
    steps = [event["payload"]["step"] for event in events if event["type"] == "CMD_EXECUTE"]
    assert sorted(steps) == ["a", "b", "begin", "merge"]
    left = [event["payload"] for event in events if _moved(event)][-1]
    assert (left["event"], left["from_state"], left["to_state"]) == ("BRANCH_OVER", "b", "end")
    assert (left["active_states"], left["session_state"]) == (["end"], "completed")


async def test_the_state_names_what_a_join_waits_for(tempo: Tempo) -> None:
    text = FORK.replace("user_input_states: [begin, b]", "user_input_states: [begin]").replace(
        "{a: echo, merge: echo}", "{a: echo, b: approval, merge: echo}"
    )
    await tempo.registered("waits", text)
    session_id = await tempo.started({"flow_id": "waits"})
    await tempo.pushed(session_id, "GO", payload={"title": "May I?"})
    state = await tempo.state(session_id)
    assert state["pending_dependencies"] == ["b"]
    assert state["active_states"] == ["a", "b"]
    assert state["waiting_for"] == "user"


async def test_an_error_without_a_way_out_fails_the_session(tempo: Tempo) -> None:
    await tempo.registered(
        "bad", "states: [a, b]\nstate_node_map: {a: transform}\ntransitions: [{from: a, event: X, to: b}]"
    )
    told = {"flow_id": "bad", "params": {"source_artifact": "none"}}
    answer = await tempo.post("/api/workflow/start", told)
    assert answer["session_state"] == "error"
    state = await tempo.state(answer["session_id"])
    assert state["error"]["code"] == "SOURCE_NOT_FOUND"
    assert (state["error"]["step"], state["error"]["attempt"]) == ("a", 1)
    assert (await tempo.pushed(answer["session_id"], "X", 409))["code"] == "SESSION_CLOSED"
    assert (await tempo.types(answer["session_id"]))[-1] == "SESSION_ERROR"


async def test_retry_runs_the_failed_step_again(tempo: Tempo) -> None:
    text = """
states: [pick, broken, end]
state_node_map: {pick: transform}
state_params: {pick: {source_artifact: order}}
user_input_states: [broken]
transitions:
  - {from: pick, event: STEP_DONE, to: end}
  - {from: pick, event: ERROR, to: broken}
"""
    await tempo.registered("retrying", text)
    session_id = await tempo.started({"flow_id": "retrying"})
    state = await tempo.state(session_id)
    assert (state["current_state"], state["control_events"]) == ("broken", ["PAUSE", "ABORT", "RETRY"])
    await tempo.put(f"/api/state/{session_id}/order", {"id": 7})
    answer = await tempo.pushed(session_id, "RETRY")
    assert (answer["new_state"], answer["result"]) == ("end", {"extracted": {"id": 7}})


async def test_a_session_inherits_the_blackboard_and_the_params_of_another(tempo: Tempo) -> None:
    first = await tempo.started({"flow_id": "echo_test_flow", "params": {"input": "x", "who": "ann"}})
    await tempo.put(f"/api/state/{first}/note", "kept")
    before = await tempo.state(first)
    told = {"flow_id": "echo_test_flow", "params": {"input": "y"}, "inherit_session": first, "from_step": "echoed"}
    second = await tempo.started(told)
    board = await tempo.board(second)
    assert (board["note"], board["echo_result"], board["_fsm_state"]) == ("kept", "x", "echoed")
    assert board["_params"] == {"input": "y", "who": "ann"}
    assert await tempo.state(first) == {**before, "successors": [second]}, "it is unchanged, and knows who followed"
    assert (await tempo.state(second))["inherit_session"] == first
    start = (await tempo.events(second))[0]["payload"]
    assert (start["inherit_session"], start["from_step"]) == (first, "echoed")


async def test_a_result_of_a_node_is_followed_only_after_a_pause(tempo: Tempo) -> None:
    text = """
states: [work, next, end]
state_node_map: {work: "%s", next: echo}
transitions:
  - {from: work, event: STEP_DONE, to: next}
  - {from: next, event: STEP_DONE, to: end}
"""
    async with receiving() as receiver:
        await tempo.registered("pausing", text % receiver.url)
        session_id = await tempo.started({"flow_id": "pausing", "wait_ms": 0})
        await receiver.wait_for(1)
    assert (await tempo.pushed(session_id, "PAUSE", payload={"reason": "lunch"}))["session_state"] == "paused"
    told = await tempo.post(f"/api/workflow/{session_id}/callback", {"step": "work", "result": {"ok": True}})
    assert (told["status"], told["new_state"], told["session_state"]) == ("received", "work", "paused")
    assert (await tempo.types(session_id))[-2:] == ["CALLBACK_RECEIVED", "EVENT_RESULT"]
    assert (await tempo.state(session_id))["current_state"] == "work"
    answer = await tempo.pushed(session_id, "RESUME")
    assert (answer["new_state"], answer["session_state"]) == ("end", "completed")
    types = await tempo.types(session_id)
    at = types.index("SESSION_RESUME")
    assert types[at + 1 : at + 4] == ["STEP_DONE", "STATE_TRANSITION", "CMD_EXECUTE"]


async def test_a_file_of_a_node_is_told_behind_its_result(tempo: Tempo) -> None:
    told = {"node_id": "write_artifact", "params": {"name": "report.md", "content": "# Sales"}}
    session_id = await tempo.started(told)
    events = await tempo.events(session_id)
    assert [event["type"] for event in events][2:5] == ["EVENT_RESULT", "FILE_READY", "STEP_DONE"]
    result = events[2]["payload"]["result"]
    assert events[3]["payload"] == {"step": "execute", **{key: result[key] for key in ("name", "size", "sha256")}}


async def test_a_notification_is_told_to_who_watches(tempo: Tempo) -> None:
    told = {"node_id": "notification", "params": {"message": "Hello", "level": "warning"}}
    session_id = await tempo.started(told)
    notes = [event["payload"] for event in await tempo.events(session_id) if event["type"] == "NOTIFICATION"]
    assert notes == [{"step": "execute", "message": "Hello", "level": "warning"}]


async def test_a_session_whose_user_does_not_come_is_paused_and_goes_on_with_the_event(
    tempo: Tempo, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(house.services.start_session, "idle_after", 0.3)
    session_id = await tempo.started({"flow_id": "echo_test_flow"})
    async with asyncio.timeout(10):
        while (await tempo.state(session_id))["session_state"] != "paused":
            await asyncio.sleep(0.05)
    assert (await tempo.events(session_id))[-1]["payload"] == {"reason": "idle"}
    assert (await tempo.pushed(session_id, "NO", 422))["code"] == "INVALID_TRANSITION"
    assert (await tempo.pushed(session_id, "USER_CONFIRM"))["session_state"] == "completed"
    assert (await tempo.types(session_id))[5:8] == ["SESSION_PAUSE", "SESSION_RESUME", "USER_CONFIRM"]


async def test_an_answer_need_not_be_waited_for(tempo: Tempo) -> None:
    answer = await tempo.post("/api/workflow/start", {"node_id": "wait", "params": {"seconds": 60}, "wait_ms": 0})
    assert answer["session_state"] in ("running", "idle")
    told = {"node_id": "echo", "params": {}}
    answer = await tempo.post("/api/workflow/start", told, prefer="respond-async")
    async with asyncio.timeout(5):
        while (await tempo.state(answer["session_id"]))["session_state"] != "completed":
            await asyncio.sleep(0.02)
