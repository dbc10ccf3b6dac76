"""The commands against a real server: what they say, what they write for programs, and how they end."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from cli_house import Interlock, Started, Write, resting
from interlock.kit.ids import RandomIds
from served import RunningServer

ECHO = "nodes: [{id: a, name: say it, type: echo}]\n"
ASKS = """
nodes:
  - {id: ask, type: approval, parameters: {title: "Pay {{ $json.amount }}?", request: "{{ $json }}"}}
  - {id: paid, type: transform, parameters: {mapping: "{{ $json }}"}}
  - {id: kept, type: transform, parameters: {mapping: "{{ $json }}"}}
connections:
  - {from: ask, port: confirmed, to: paid}
  - {from: ask, port: rejected, to: kept}
"""
WAITS = "nodes: [{id: w, type: wait, parameters: {signal: go}}]\n"
FAILS = "nodes: [{id: a, type: transform, parameters: {mapping: '{{ 1 / 0 }}'}}]\n"
WAITS_TWICE = """
nodes: [{id: w, type: wait, parameters: {signal: go}}, {id: v, type: wait, parameters: {signal: go}}]
connections: [w -> v]
"""
FLOW = """
kind: flow
states: [begin, ask, end]
user_input_states: [ask]
state_node_map: {begin: echo}
transitions:
  - {from: begin, event: STEP_DONE, to: ask}
  - {from: ask, event: CONFIRM, to: end}
"""
WRITES = "nodes: [{id: w, type: write_artifact, parameters: {name: a.txt, content: 'hello {{ $json.n }}'}}]\n"


def test_run_stores_a_definition_and_says_how_to_go_on(interlock: Interlock, definition: Write) -> None:
    path = definition(ECHO)
    ended = interlock("run", path, "--input", '{"n": 1}')
    assert (ended.code, ended.err) == (0, "")
    first, second = ended.out.splitlines()
    assert first.startswith("Started execution ")
    assert first.endswith(f" of {Path(path).stem}, version 1.")
    assert second.startswith("Follow it with `interlock watch ")


def test_one_name_is_one_workflow_and_a_changed_file_is_its_next_version(
    interlock: Interlock, definition: Write
) -> None:
    path = definition(ECHO)
    first = interlock("run", path, "--json").json
    again = interlock("run", path, "--json").json
    Path(path).write_text(WAITS)
    changed = interlock("run", path, "--json").json
    assert first["workflow_id"] == again["workflow_id"] == changed["workflow_id"]
    assert [first["workflow_version"], again["workflow_version"], changed["workflow_version"]] == [1, 1, 2]


def test_run_watch_ends_with_the_outcome(interlock: Interlock, definition: Write) -> None:
    ended = interlock("run", definition(ECHO), "--watch")
    words = [line.partition("  ")[2] for line in ended.out.splitlines()]
    assert ended.code == 0
    assert words[0] == "execution started"
    assert words[1] == "say it started"
    assert ended.out.splitlines()[-1] == "Succeeded."
    assert "\x1b" not in ended.out


def test_an_execution_that_fails_is_watched_to_exit_code_1(interlock: Interlock, definition: Write) -> None:
    ended = interlock("run", definition(FAILS), "--watch")
    assert ended.code == 1
    assert ended.out.splitlines()[-1].startswith("Failed: EXPRESSION_ERROR: ")


def test_watch_for_programs_is_the_frames_of_the_stream(interlock: Interlock, started: Started) -> None:
    execution_id = started(ECHO)
    ended = interlock("watch", execution_id, "--json")
    assert (ended.code, ended.err) == (0, "")
    assert [frame["seq"] for frame in ended.lines] == list(range(1, len(ended.lines) + 1))
    assert (ended.lines[0]["type"], ended.lines[-1]["type"]) == ("execution_started", "execution_completed")
    assert ended.lines[-1]["is_final"] is True


def test_show_tells_graph_timeline_events_and_result(
    interlock: Interlock, server: RunningServer, started: Started
) -> None:
    execution_id = started(ECHO, {"n": 1})
    resting(server, execution_id)
    text = interlock("show", execution_id).out
    for part in (execution_id, "✓ SUCCESS", "Graph", "say it (echo)  ✓ completed", "Timeline", "━", "Events", "Result"):
        assert part in text
    assert "Why it is not moving" not in text
    told = interlock("show", execution_id, "--json").json
    assert told["execution"]["status"] == "SUCCESS"
    assert [event["type"] for event in told["events"]] == [
        "execution.started",
        "task.started",
        "task.completed",
        "execution.succeeded",
    ]


def test_show_can_be_asked_for_the_last_events_only(
    interlock: Interlock, server: RunningServer, started: Started
) -> None:
    execution_id = started(ECHO)
    resting(server, execution_id)
    assert "… 3 before; all with --events 0" in interlock("show", execution_id, "--events", "1").out
    assert len(interlock("show", execution_id, "--events", "2", "--json").json["events"]) == 2


def test_show_says_why_an_execution_rests_and_the_signal_lets_it_go_on(
    interlock: Interlock, server: RunningServer, started: Started
) -> None:
    execution_id = started(WAITS)
    resting(server, execution_id)
    text = interlock("show", execution_id).out
    assert "Why it is not moving" in text
    assert "w waits for a signal go" in text
    assert f"→ interlock signal {execution_id} go" in text
    assert interlock("signal", execution_id, "go", "--payload", '{"x": 1}').code == 0
    assert resting(server, execution_id)["result"] == {"x": 1}


def test_a_flow_shows_what_it_accepts_and_refuses_a_signal_for_another_state(
    interlock: Interlock, server: RunningServer, started: Started
) -> None:
    execution_id = started(FLOW)
    resting(server, execution_id)
    assert "It accepts CONFIRM." in interlock("show", execution_id).out
    refused = interlock("signal", execution_id, "CONFIRM", "--expect", "end")
    assert (refused.code, refused.out) == (1, "")
    assert "Next:" in refused.err
    assert interlock("signal", execution_id, "CONFIRM", "--expect", "ask", "--json").json["success"] is True
    assert resting(server, execution_id)["status"] == "SUCCESS"


def test_the_same_signal_id_counts_once(interlock: Interlock, server: RunningServer, started: Started) -> None:
    execution_id = started(WAITS_TWICE)
    resting(server, execution_id)
    for _ in range(2):
        assert interlock("signal", execution_id, "go", "--signal-id", "one").code == 0
    assert resting(server, execution_id)["status"] == "WAITING"


@pytest.mark.parametrize("by", ["execution", "approval"])
def test_approve_takes_an_approval_or_the_execution_that_asks(
    interlock: Interlock, server: RunningServer, started: Started, by: str
) -> None:
    execution_id = started(ASKS, {"amount": 90})
    (approval,) = resting(server, execution_id)["pending_approvals"]
    assert (approval["title"], approval["request"]) == ("Pay 90?", {"amount": 90})
    listed = interlock("approvals", "--execution", execution_id)
    assert "Pay 90?" in listed.out
    wanted = execution_id if by == "execution" else approval["approval_id"]
    ended = interlock("approve", wanted, "--reason", "fair", "--edit", '{"amount": 80}')
    assert ended.out == f"The approval is approved; execution {execution_id} goes on.\n"
    result = resting(server, execution_id)["result"]
    assert (result["approved"], result["reason"], result["data"]) == (True, "fair", {"amount": 80})
    again = interlock("deny", approval["approval_id"])
    assert (again.code, again.out) == (1, "")
    assert again.err.startswith("Error: The approval was already approved by local.")
    for verb in ("approve", "deny"):
        once_more = interlock(verb, execution_id)
        assert (once_more.code, once_more.out) == (1, "")
        assert once_more.err.splitlines() == [
            "Error: The question “Pay 90?” was already approved by local: fair.",
            f"Next:  See what became of it with `interlock show {execution_id}`.",
        ]


def test_a_question_that_was_taken_back_is_said_not_to_be_open(
    interlock: Interlock, server: RunningServer, started: Started
) -> None:
    execution_id = started(ASKS, {"amount": 90})
    resting(server, execution_id)
    interlock("cancel", execution_id)
    ended = interlock("approve", execution_id)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("Error: The question “Pay 90?” is not open any more: it is cancelled.")


def test_deny_takes_the_other_way(interlock: Interlock, server: RunningServer, started: Started) -> None:
    execution_id = started(ASKS, {"amount": 90})
    resting(server, execution_id)
    assert interlock("deny", execution_id, "--reason", "too much", "--json").json["status"] == "denied"
    assert resting(server, execution_id)["result"]["approved"] is False


def test_an_execution_with_two_questions_is_asked_which(
    interlock: Interlock, server: RunningServer, started: Started
) -> None:
    execution_id = started("nodes: [{id: a, type: approval, parameters: {title: one}}, {id: b, type: approval}]")
    asked = resting(server, execution_id)["pending_approvals"]
    ended = interlock("approve", execution_id)
    assert ended.code == 2
    assert "The execution has 2 open approvals: " in ended.err
    assert all(approval["approval_id"] in ended.err for approval in asked)


def test_an_id_that_is_neither_is_not_found(interlock: Interlock) -> None:
    ended = interlock("approve", str(RandomIds().new()))
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("Error: There is no approval ")


def test_pause_resume_and_cancel_say_where_the_execution_stands(
    interlock: Interlock, server: RunningServer, started: Started
) -> None:
    execution_id = started(WAITS)
    resting(server, execution_id)
    assert interlock("pause", execution_id).out == f"Execution {execution_id} is PAUSED now.\n"
    assert f"→ interlock resume {execution_id}" in interlock("show", execution_id).out
    assert interlock("resume", execution_id).out == f"Execution {execution_id} is WAITING now.\n"
    assert interlock("cancel", execution_id, "--reason", "enough", "--json").json["status"] == "CANCELED"
    again = interlock("cancel", execution_id)
    assert (again.code, again.out) == (1, "")
    assert again.err.splitlines()[1] == f"Next:  See what became of it with `interlock show {execution_id}`."


def test_list_filters_and_pages(interlock: Interlock, definition: Write) -> None:
    path = definition(WAITS)
    runs = [interlock("run", path, "--json").json for _ in range(3)]
    workflow_id = runs[0]["workflow_id"]
    ended = interlock("list", "--workflow", workflow_id, "--limit", "2")
    assert [run["execution_id"] in ended.out for run in runs] == [False, True, True]
    assert Path(path).stem[:20] in ended.out
    cursor = ended.err.split("--cursor ")[1].strip()
    assert runs[0]["execution_id"] in interlock("list", "--workflow", workflow_id, "--cursor", cursor).out
    assert len(interlock("list", "--workflow", workflow_id, "--status", "active", "--json").json["executions"]) == 3
    none = interlock("list", "--workflow", workflow_id, "--status", "success")
    assert none.out == "There are no executions. Start one with `interlock run FILE`.\n"
    assert interlock("list", "--status", "sideways").err.startswith("Error: Unknown status 'sideways'")


def test_artifacts_are_listed_and_saved_with_the_content_that_was_recorded(
    interlock: Interlock, server: RunningServer, started: Started, tmp_path: Path
) -> None:
    execution_id = started(WRITES, {"n": 7})
    resting(server, execution_id)
    assert "a.txt" in interlock("artifacts", execution_id).out
    saved = interlock("artifacts", execution_id, "--save", str(tmp_path / "out"))
    path = tmp_path / "out" / "a.txt"
    assert (saved.code, saved.out) == (0, f"{path}\n")
    told = interlock("artifacts", execution_id, "--save", str(tmp_path / "out"), "--json").json["artifacts"][0]
    assert (path.read_text(), told["saved"]) == ("hello 7", str(path))
    assert sha256(path.read_bytes()).hexdigest() == told["sha256"]
    assert [found.name for found in path.parent.iterdir()] == ["a.txt"]


def test_a_place_that_cannot_be_written_is_wrong_use(
    interlock: Interlock, server: RunningServer, started: Started, tmp_path: Path
) -> None:
    execution_id = started(WRITES, {"n": 7})
    resting(server, execution_id)
    (tmp_path / "file").write_text("in the way")
    ended = interlock("artifacts", execution_id, "--save", str(tmp_path / "file"))
    assert (ended.code, "cannot be written" in ended.err) == (2, True)


def test_an_execution_without_files_says_so(interlock: Interlock, started: Started) -> None:
    assert interlock("artifacts", started(WAITS)).out == "The execution has made no files.\n"
