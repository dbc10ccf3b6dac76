"""Flows, nodes and sessions from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli_house import Interlock, Write

FLOW = """
description: Shows and waits.
states: [show, ask, end]
state_node_map: {show: echo}
user_input_states: [ask]
transitions:
  - {from: show, event: STEP_DONE, to: ask}
  - {from: ask, event: OK, to: end}
  - {from: ask, event: AGAIN, to: show}
"""


@pytest.fixture
def flow(interlock: Interlock, definition: Write) -> str:
    """A registered flow."""
    path = definition(FLOW)
    assert interlock("flows", "register", path).code == 0
    return Path(path).stem


def test_a_flow_is_registered_listed_shown_and_drawn(interlock: Interlock, definition: Write) -> None:
    path = definition(FLOW)
    made = interlock("flows", "register", path, "--id", "drawn", "--name", "Drawn", "--json").json
    assert (made["flow_id"], made["name"], made["version"]) == ("drawn", "Drawn", 1)
    listed = {found["flow_id"]: found for found in interlock("flows", "list", "--json").json}
    assert listed["drawn"]["description"] == "Shows and waits."
    assert "echo_test_flow" in interlock("flows", "list").out
    assert FLOW.strip() in interlock("flows", "show", "drawn").out
    assert interlock("flows", "show", "drawn", "--json").json["initial_state"] == "show"
    drawn = interlock("flows", "graph", "drawn").out
    assert "[STEP_DONE] ask (waits for its user)" in drawn
    assert "[AGAIN] ↪ show" in drawn
    assert len(interlock("flows", "graph", "drawn", "--json").json["edges"]) == 3


def test_what_is_wrong_with_a_flow_is_said(interlock: Interlock, definition: Write) -> None:
    ended = interlock("flows", "register", definition("states: [a]\nstate_node_map: {a: nothing}"))
    assert ended.code == 1
    assert "Flow must have at least 2 states" in ended.err
    assert "Unknown node reference: 'nothing'" in ended.err
    missing = interlock("flows", "show", "nothing")
    assert (missing.code, "interlock flows list" in missing.err) == (1, True)


def test_a_node_is_registered_listed_and_deleted(interlock: Interlock) -> None:
    command = ("nodes", "register", "cli-node", "http://127.0.0.1:9/x")
    made = interlock(*command, "--timeout", "60", "--json").json
    assert made["callback_secret"].startswith("whsec_")
    assert made["timeout_seconds"] == 60
    again = interlock(*command)
    assert "whsec_" not in again.out
    assert "whsec_" in interlock(*command, "--rotate").out
    assert "http://127.0.0.1:9/x" in interlock("nodes", "list").out
    assert interlock("nodes", "delete", "cli-node", "--json").json == {"node_id": "cli-node", "deleted": True}
    assert "cli-node" not in {node["node_id"] for node in interlock("nodes", "list", "--json").json}
    assert interlock("nodes", "delete", "echo").code == 1


def test_a_session_is_started_moved_and_watched(interlock: Interlock, flow: str) -> None:
    started = interlock("sessions", "start", flow, "--params", '{"input": "x"}', "--json").json
    session = started["session_id"]
    assert (started["state"], started["valid_events"]) == ("ask", ["OK", "AGAIN"])
    told = interlock("sessions", "state", session).out
    assert f"Session {session} is in ask (waiting_user)." in told
    assert "It also takes AGAIN." in told
    assert "It waits for: user." in told
    refused = interlock("sessions", "event", session, "OK", "--expect", "show")
    assert (refused.code, "not in state" in refused.err) == (1, True)
    moved = interlock("sessions", "event", session, "AGAIN")
    assert 'Result: {"echo":"x"}' in moved.out
    once = ("sessions", "event", session, "OK", "--payload", '{"a": 1}', "--event-id", "e1", "--json")
    assert interlock(*once).json["session_state"] == "completed"
    assert interlock(*once).json["event_id"] == "e1"
    assert interlock("watch", session).code == 0


def test_a_session_begins_where_it_is_told_with_what_another_one_left(interlock: Interlock, flow: str) -> None:
    first = interlock("sessions", "start", flow, "--params", '{"input": "x"}', "--json").json["session_id"]
    second = interlock("sessions", "start", flow, "--inherit", first, "--from", "ask", "--json").json
    assert (second["state"], second["result"]) == ("ask", None)
    assert interlock("sessions", "state", first, "--json").json["successors"] == [second["session_id"]]
    stopped = interlock("sessions", "stop", first, "--json").json
    assert (stopped["status"], stopped["session_state"]) == ("terminated", "error")


def test_a_single_node_can_be_watched_to_its_end(interlock: Interlock) -> None:
    ended = interlock("sessions", "start", "--node", "echo", "--params", '{"input": "hi"}', "--watch")
    assert ended.code == 0
    assert "completed" in ended.out.lower()


def test_a_start_names_a_flow_or_a_node(interlock: Interlock) -> None:
    for more in ((), ("a", "--node", "b")):
        ended = interlock("sessions", "start", *more)
        assert (ended.code, "interlock flows list" in ended.err) == (2, True)


def test_whoever_watches_is_told_what_moves_a_session_on(interlock: Interlock, flow: str) -> None:
    session = interlock("sessions", "start", flow, "--params", '{"input": "x"}', "--json").json["session_id"]
    interlock("sessions", "event", session, "OK")
    assert "it waits for OK or AGAIN" in interlock("watch", session).out


def test_a_session_of_the_house_is_listed_by_its_flow(interlock: Interlock) -> None:
    interlock("sessions", "start", "echo_test_flow", "--params", '{"input": "x"}')
    assert "echo_test_flow" in interlock("list").out


def test_a_session_is_shown_watched_and_listed_by_the_id_it_was_given(interlock: Interlock, flow: str) -> None:
    name = f"{flow}-7"
    interlock("sessions", "start", flow, "--session-id", name, "--params", '{"input": "x"}')
    assert interlock("show", name).code == 0
    assert name in {found["id"] for found in interlock("list", "--json").json["executions"]}
    assert interlock("signal", name, "OK").code == 0
    assert interlock("watch", name).code == 0
