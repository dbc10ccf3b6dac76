"""Watching live: questions on a terminal, servers that go away and come back, and the worked example."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from cli_house import Interlock, Started, Write, on_a_terminal, resting
from interlock.core.errors import InterlockError
from interlock.doors.cli import demo, follow
from interlock.doors.cli.asking import Answer
from interlock.doors.cli.facts import Fact
from interlock.doors.cli.follow import Follower, Note
from interlock.doors.cli.picture import Picture
from interlock.doors.cli.server import Server
from interlock.doors.cli.storing import store_workflow
from interlock.doors.cli.watching import Watching, picture_of
from interlock.kit.clock import SystemClock
from interlock.kit.ids import RandomIds
from served import RunningServer, environment, start_server, stop_server

ASKS = """
nodes:
  - {id: ask, type: approval, parameters: {title: "Pay {{ $json.amount }}?", request: "{{ $json }}"}}
  - {id: paid, type: transform, parameters: {mapping: "{{ $json }}"}}
  - {id: kept, type: transform, parameters: {mapping: "{{ $json }}"}}
connections:
  - {from: ask, port: confirmed, to: paid}
  - {from: ask, port: rejected, to: kept}
"""
FORM = """
nodes:
  - id: ask
    type: approval
    parameters:
      title: How many?
      reason_required: true
      fields: [{name: count, field_type: integer, required: true}, {name: note, field_type: text}]
"""
CHOICE = "nodes: [{id: ask, type: approval, parameters: {title: Where?, options: [North, South]}}]\n"
WAITS = {"nodes": [{"id": "w", "type": "wait", "parameters": {"signal": "go"}}]}


class Notebook:
    """A screen that remembers what it was given."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.notes: list[str] = []
        self.is_resting = False
        self._called = asyncio.Event()

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait for a call after which something holds."""
        async with asyncio.timeout(10):
            while not holds():
                self._called.clear()
                await self._called.wait()

    def fact(self, fact: Fact, picture: Picture) -> None:
        self.facts.append(fact)
        self._called.set()

    def note(self, text: str) -> None:
        self.notes.append(text)
        self._called.set()

    def tick(self, picture: Picture) -> None:
        assert not self.is_resting
        self._called.set()

    def rest(self) -> None:
        self.is_resting = True

    def resume(self) -> None:
        self.is_resting = False

    def close(self, picture: Picture) -> None:
        self.rest()


def client(server: RunningServer) -> Server:
    return Server(server.url, lambda: server.token, RandomIds())


async def start(server: Server, source: Mapping[str, Any], given: Any = None) -> str:
    workflow = await store_workflow(server, {"name": f"w{RandomIds().new().hex}", **source})
    answer = await server.post(f"/workflows/{workflow['workflow_id']}/execute", {"inputs": given or {}})
    return str(answer["execution_id"])


@pytest.fixture
def watched(server: RunningServer) -> Callable[..., Any]:
    """Watches an execution on a terminal and answers as the dialogue says."""

    def watch(execution_id: str, *dialogue: tuple[str, str | Callable[[int], object]]) -> Any:
        settings = environment(INTERLOCK_URL=server.url, INTERLOCK_DATA_DIR=str(server.data_dir))
        return on_a_terminal([sys.executable, "-m", "interlock", "watch", execution_id], dialogue, settings)

    return watch


def test_on_a_terminal_the_question_is_shown_and_approved(
    server: RunningServer, started: Started, watched: Callable[..., Any]
) -> None:
    execution_id = started(ASKS, {"amount": 90})
    ended = watched(execution_id, ("approve, deny, edit or skip? ", "what\n"), ("is none of", "approve\n"))
    assert ended.code == 0
    assert "╭─ Pay 90?" in ended.plain
    assert '{"amount":90}' in ended.plain
    assert "✓ completed" in ended.plain
    assert ended.plain.rstrip().endswith("Succeeded.")
    assert resting(server, execution_id)["result"]["approved"] is True


def test_the_data_can_be_edited_before_it_is_approved(
    server: RunningServer, started: Started, watched: Callable[..., Any]
) -> None:
    execution_id = started(ASKS, {"amount": 90})
    ended = watched(
        execution_id,
        ("skip? ", "edit\n"),
        ("data? ", '{"amount": 8\n'),
        ("is not JSON", ""),
        ("data? ", '{"amount": 80}\n'),
    )
    assert ended.code == 0
    assert resting(server, execution_id)["result"]["data"] == {"amount": 80}


def test_it_can_be_denied_with_a_reason(server: RunningServer, started: Started, watched: Callable[..., Any]) -> None:
    execution_id = started(ASKS, {"amount": 90})
    assert watched(execution_id, ("skip? ", "deny\n"), ("reason (Enter for none)? ", "too much\n")).code == 0
    result = resting(server, execution_id)["result"]
    assert (result["approved"], result["reason"]) == (False, "too much")


def test_a_form_is_filled_in_field_by_field(
    server: RunningServer, started: Started, watched: Callable[..., Any]
) -> None:
    execution_id = started(FORM)
    ended = watched(
        execution_id,
        ("skip? ", "approve\n"),
        ("count (integer, required)? ", "\n"),
        ("count (integer, required)? ", "many\n"),
        ("count (integer, required)? ", "3\n"),
        ("note (text, Enter for none)? ", "\n"),
        ("reason? ", "\n"),
        ("reason? ", "because\n"),
    )
    assert ended.code == 0
    result = resting(server, execution_id)["result"]
    assert (result["data"], result["reason"]) == ({"count": 3}, "because")


def test_one_of_several_options_is_chosen_by_its_name(
    server: RunningServer, started: Started, watched: Callable[..., Any]
) -> None:
    execution_id = started(CHOICE)
    assert watched(execution_id, ("skip, or one of: North, South? ", "south\n")).code == 0
    assert resting(server, execution_id)["result"]["selected"] == "South"


def test_a_question_that_is_skipped_stays_open_and_disappears_when_somebody_else_answers(
    interlock: Interlock, started: Started, watched: Callable[..., Any]
) -> None:
    execution_id = started(ASKS, {"amount": 90})
    approve = ("a person's decision", lambda _: interlock("approve", execution_id))
    assert watched(execution_id, ("skip? ", "skip\n"), approve).code == 0
    execution_id = started(ASKS, {"amount": 91})
    ended = watched(execution_id, ("skip? ", lambda _: interlock("approve", execution_id)))
    assert ended.code == 0
    assert "The question is not open any more." in ended.plain


def test_ctrl_c_leaves_the_execution_alone(
    server: RunningServer, started: Started, watched: Callable[..., Any]
) -> None:
    execution_id = started(ASKS, {"amount": 90})
    ended = watched(execution_id, ("skip? ", lambda process: os.kill(process, signal.SIGINT)))
    assert ended.code == 130
    assert f"The execution goes on; see it again with `interlock watch {execution_id}`." in ended.plain
    assert "Traceback" not in ended.plain
    assert resting(server, execution_id)["status"] == "WAITING"


async def test_without_anybody_to_ask_the_way_to_answer_is_said(server: RunningServer) -> None:
    screen = Notebook()
    async with client(server) as caller:
        execution_id = await start(caller, {"nodes": [{"id": "a", "type": "approval"}]})
        watching = asyncio.create_task(
            Watching(caller, await picture_of(caller, execution_id), screen, SystemClock()).run()
        )
        await screen.until(lambda: screen.notes)
        (note,) = screen.notes
        assert note.startswith("Answer with `interlock approve ")
        await caller.post(f"/executions/{execution_id}/cancel")
        assert (await watching).status == "CANCELED"


async def test_an_answer_the_server_refuses_is_asked_for_again(server: RunningServer) -> None:
    answers = [Answer("approve", {"count": "three"}), Answer("approve", {"count": 3})]

    async def decide(approval: Mapping[str, Any]) -> Answer:
        return answers.pop(0)

    screen = Notebook()
    fields = {"fields": [{"name": "count", "field_type": "integer", "required": True}]}
    async with client(server) as caller:
        execution_id = await start(caller, {"nodes": [{"id": "a", "type": "approval", "parameters": fields}]})
        picture = await picture_of(caller, execution_id)
        picture = await Watching(caller, picture, screen, SystemClock(), decide).run()
    assert (picture.status, picture.result["data"], answers) == ("SUCCESS", {"count": 3}, [])
    assert screen.notes == ["That answer cannot be taken: data.count: must be an integer"]


async def test_a_map_with_large_items_is_counted_against_its_total(server: RunningServer) -> None:
    nodes = [
        {"id": "each", "type": "map", "parameters": {"items": "{{ $json.items }}"}},
        {"id": "rest", "type": "wait", "parameters": {"signal": "go"}},
    ]
    source = {"nodes": nodes, "connections": [{"from": "each", "port": "iteration", "to": "rest"}]}
    async with client(server) as caller:
        execution_id = await start(caller, source, {"items": ["x" * 50_000, "y" * 50_000]})
        picture = await picture_of(caller, execution_id)
        screen = Notebook()
        watching = asyncio.create_task(Watching(caller, picture, screen, SystemClock()).run())
        await screen.until(lambda: picture.limits.get("each"))
        assert (picture.nodes["rest"].total, picture.nodes["rest"].status) == (2, "waiting")
        await caller.post(f"/executions/{execution_id}/cancel")
        await watching


async def test_a_watch_survives_the_death_of_the_server_and_misses_nothing(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    process, url, token = await asyncio.to_thread(start_server, tmp_path)
    screen = Notebook()
    try:
        async with Server(url, lambda: token, RandomIds()) as caller:
            execution_id = await start(caller, WAITS)
            picture = await picture_of(caller, execution_id)
            watching = asyncio.create_task(Watching(caller, picture, screen, SystemClock()).run())
            await screen.until(lambda: len(screen.facts) == 2)
            process.kill()
            await asyncio.to_thread(process.wait, 10)
            assert process.stdout is not None
            process.stdout.close()
            port = url.rpartition(":")[2]
            process, again, _ = await asyncio.to_thread(start_server, tmp_path, "--port", port)
            assert again == url
            async with asyncio.timeout(30):
                await caller.post(f"/executions/{execution_id}/signal", {"name": "go", "payload": 1})
                ended = await watching
    finally:
        await asyncio.to_thread(stop_server, process)
    assert ended.status == "SUCCESS"
    assert [fact.seq for fact in screen.facts] == list(range(1, len(screen.facts) + 1))
    assert screen.notes[0].startswith("The connection was lost")
    assert screen.notes[-1] == "Connected again; nothing was missed."


async def test_a_server_that_stays_away_is_given_up_with_the_way_to_go_on(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "PATIENCE_SECONDS", 0.5)
    nowhere = Server("http://127.0.0.1:9", lambda: server.token, RandomIds())
    async with nowhere:
        happenings = Follower(nowhere, "E", SystemClock()).happenings()
        assert isinstance(await anext(happenings), Note)
        with pytest.raises(InterlockError, match="has been away for") as given_up:
            await anext(happenings)
    assert "interlock watch E" in given_up.value.details["next"]


async def test_following_what_is_not_there_is_refused_at_once(server: RunningServer) -> None:
    async with client(server) as caller:
        happenings = Follower(caller, str(RandomIds().new()), SystemClock()).happenings()
        with pytest.raises(InterlockError, match="There is no execution"):
            await anext(happenings)


async def test_the_demo_without_a_terminal_approves_and_saves_its_report(
    server: RunningServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = await demo.demonstrate(server.url, server.token, directory=tmp_path)
    lines = capsys.readouterr().out.splitlines()
    execution_id = lines[-1].removeprefix("INTERLOCK_DEMO_OK ")
    report = tmp_path / "interlock-demo" / execution_id / "report.md"
    assert code == 0
    assert lines[-2] == f"The report is in {report}"
    assert report.read_text().startswith("#")
    assert any(line.endswith("ask approved by local: demo") for line in lines)


async def test_the_demo_for_programs_writes_frames_and_at_the_end_what_it_made(
    server: RunningServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], interlock: Interlock
) -> None:
    assert await demo.demonstrate(server.url, server.token, as_json=True, directory=tmp_path) == 0
    *frames, last = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert frames[-1]["is_final"] is True
    assert (last["demo"], last["execution_id"]) == ("ok", frames[0]["execution_id"])
    assert Path(last["report"]).is_file()


async def test_a_demo_without_its_example_says_how_to_install_it(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "EXAMPLES", "interlock_examples_elsewhere")
    assert await demo.demonstrate(server.url, server.token) == 1
    told = capsys.readouterr()
    assert (told.out, told.err.splitlines()[0]) == (
        "",
        "Error: The worked example is not installed (package interlock-examples-elsewhere).",
    )


def test_run_watch_for_programs_points_at_a_question_on_stderr(
    interlock: Interlock, definition: Write, server: RunningServer
) -> None:
    path = definition("nodes: [{id: a, type: approval, parameters: {timeout_seconds: 1}}]")
    ended = interlock("run", path, "--watch", "--json")
    assert ended.code == 1
    assert ended.lines[-1]["data"]["error"]["code"] == "HIL_TIMEOUT"
    assert ended.err.startswith("Answer with `interlock approve ")
