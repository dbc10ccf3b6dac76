"""What nodes of a session read: keys as they are written, the names of the house, parameters nobody asked for."""

from __future__ import annotations

from typing import Any

import pytest

from doors.tempo_house import Tempo

READ = """
states: [ask, read, end]
user_input_states: [ask]
state_node_map: {read: echo}
state_params:
  read:
    input:
      payload: "{{_user_payload.q}}"
      params: "{{_params.top}}"
      flow: "{{_flow_id}}"
      version: "{{_flow_version}}"
      node: "{{_node_id}}"
      is_implicit: "{{_implicit}}"
      state: "{{_fsm_state}}"
      session: "{{_session_state}}"
      key: "{{my-key}}"
transitions:
  - {from: ask, event: GO, to: read}
  - {from: read, event: STEP_DONE, to: end}
"""
CHOOSE = """
states: [ask, choose, big, small]
user_input_states: [ask]
state_node_map: {choose: conditional}
state_params: {choose: {key: KEY, operator: gt, value: 5, true_event: BIG, false_event: SMALL}}
terminal_states: [big, small]
transitions:
  - {from: ask, event: GO, to: choose}
  - {from: choose, event: BIG, to: big}
  - {from: choose, event: SMALL, to: small}
"""


async def test_states_read_what_the_board_shows(tempo: Tempo) -> None:
    await tempo.registered("reading", READ)
    session_id = await tempo.started({"flow_id": "reading", "params": {"top": 3}})
    await tempo.put(f"/api/state/{session_id}/my-key", "mine")
    answer = await tempo.pushed(session_id, "GO", payload={"q": 7})
    assert answer["result"]["echo"] == {
        "payload": 7,
        "params": 3,
        "flow": "reading",
        "version": 1,
        "node": None,
        "is_implicit": False,
        "state": "read",
        "session": "running",
        "key": "mine",
    }


@pytest.mark.parametrize("key", ["_user_payload.q", "_user_payload.list.0", "_params.q", "q"])
async def test_conditional_chooses_by_any_key_of_the_board(tempo: Tempo, key: str) -> None:
    await tempo.registered("choosing", CHOOSE.replace("KEY", key))
    session_id = await tempo.started({"flow_id": "choosing", "params": {"q": 7}})
    assert (await tempo.pushed(session_id, "GO", payload={"q": 7, "list": [9]}))["new_state"] == "big"


async def test_transform_takes_a_name_of_the_house_as_its_source(tempo: Tempo) -> None:
    params = {"source_artifact": "_params", "extract_path": "top", "top": "found"}
    answer = await tempo.post("/api/workflow/start", {"node_id": "transform", "params": params})
    assert (answer["state"], answer["result"]) == ("done", {"extracted": "found"})


async def test_a_result_is_read_by_its_key(tempo: Tempo) -> None:
    text = """
states: [a, b, end]
state_node_map: {a: echo, b: echo}
state_params: {a: {input: {list: [1, {deep: 2}]}}, b: {input: "{{result:a.echo.list.1.deep}}"}}
transitions: [{from: a, event: STEP_DONE, to: b}, {from: b, event: STEP_DONE, to: end}]
"""
    await tempo.registered("results", text)
    assert (await tempo.post("/api/workflow/start", {"flow_id": "results"}))["result"] == {"echo": 2}


async def test_echo_gives_back_parameters_that_it_does_not_know(tempo: Tempo) -> None:
    text = "{states: [a, end], state_node_map: {a: echo}, state_params: {a: {greeting: hi}}, %s}"
    text %= "transitions: [{from: a, event: STEP_DONE, to: end}]"
    flow: dict[str, Any] = await tempo.registered("greeting", text)
    assert flow["warnings"] == ["'greeting' of echo: is not known"]
    answer = await tempo.post("/api/workflow/start", {"flow_id": "greeting", "params": {"n": 1}})
    assert answer["result"] == {"echo": {"greeting": "hi", "n": 1}}
