"""Nodes of the house on their own: each that is listed works by what a session tells it."""

from __future__ import annotations

from typing import Any

import pytest

from doors.tempo_house import Tempo

CASES = [{"port": "big", "when": "data.n > 10"}, {"port": "small", "when": "data.n > 0"}]


async def alone(tempo: Tempo, node_id: str, **params: Any) -> Any:
    return await tempo.post("/api/workflow/start", {"node_id": node_id, "params": params})


@pytest.mark.parametrize(
    ("params", "is_met"),
    [
        ({"condition_expression": "1 == 1"}, True),
        ({"condition_expression": "data.n > 10", "n": 3}, False),
        ({"cases": CASES, "n": 3}, True),
        ({"cases": CASES, "n": 0}, False),
    ],
)
async def test_condition_takes_its_expressions_from_the_session(
    tempo: Tempo, params: dict[str, Any], is_met: bool
) -> None:
    answer = await alone(tempo, "condition", **params)
    assert (answer["state"], answer["result"]["condition_result"]) == ("done", is_met)


@pytest.mark.parametrize(
    ("node_id", "params", "code"),
    [
        ("condition", {}, "PARAMETER_INVALID"),
        ("condition", {"cases": [{"port": "a"}]}, "PARAMETER_INVALID"),
        ("condition", {"cases": "n > 1"}, "PARAMETER_INVALID"),
        ("condition", {"condition_expression": "1 +"}, "EXPRESSION_ERROR"),
        ("notification", {"message": "m", "level": "fatal"}, "PARAMETER_INVALID"),
    ],
)
async def test_what_a_node_cannot_use_is_its_error(
    tempo: Tempo, node_id: str, params: dict[str, Any], code: str
) -> None:
    answer = await alone(tempo, node_id, **params)
    assert (answer["state"], answer["session_state"]) == ("error", "completed")
    failed = [event for event in await tempo.events(answer["session_id"]) if event["type"] == "EVENT_ERROR"]
    assert failed[0]["payload"]["error"]["code"] == code


async def test_an_approval_shows_what_it_asks(tempo: Tempo) -> None:
    asked = await alone(tempo, "approval", title="Ship it?", options=["air", "sea"])
    assert (asked["state"], asked["session_state"]) == ("execute", "waiting_user")
    shown = {"type": "action_buttons", "props": {"title": "Ship it?", "options": ["air", "sea"]}}
    assert asked["ui_schema"] == {"components": [shown]}
    form = await alone(tempo, "approval", title="How many?", fields=[{"name": "n"}])
    assert form["ui_schema"]["components"][0]["type"] == "form"
    events = await tempo.events(form["session_id"])
    assert events[-1]["payload"]["ui_schema"] == form["ui_schema"]


async def test_an_approval_in_a_flow_shows_it_to_whoever_pushed(tempo: Tempo) -> None:
    text = """
states: [ask, decide, end]
user_input_states: [ask]
state_node_map: {decide: approval}
state_params: {decide: {title: "{{_user_payload.what}}?"}}
transitions:
  - {from: ask, event: GO, to: decide}
  - {from: decide, event: APPROVED, to: end}
"""
    await tempo.registered("deciding", text)
    session_id = await tempo.started({"flow_id": "deciding"})
    asked = await tempo.pushed(session_id, "GO", payload={"what": "Ship"})
    assert asked["session_state"] == "waiting_user"
    assert asked["ui_schema"]["components"][0]["props"]["title"] == "Ship?"
    assert (await tempo.pushed(session_id, "APPROVED"))["ui_schema"] is None


async def test_a_stopped_session_says_why(tempo: Tempo) -> None:
    session_id = await tempo.started({"flow_id": "echo_test_flow", "params": {"input": "x"}})
    assert "abort_reason" not in await tempo.state(session_id)
    await tempo.call("DELETE", f"/api/workflow/{session_id}", json={"reason": "no longer wanted"})
    state = await tempo.state(session_id)
    assert (state["session_state"], state["abort_reason"]) == ("error", "no longer wanted")
