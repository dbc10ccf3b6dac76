"""Live streams through the app door."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import re
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from interlock.doors.http.app_factory import build_app
from interlock.doors.http.plumbing import sse
from interlock.services.executions import watch

WAITS: dict[str, Any] = {
    "nodes": [{"id": "w", "name": "gate", "type": "wait", "parameters": {"signal": "go"}}, {"id": "e", "type": "echo"}],
    "connections": [{"from_node": "w", "to_node": "e"}],
}


def frames_of(text: str) -> list[tuple[int, dict[str, Any]]]:
    """The events of a stream: number and body."""
    found = re.findall(r"^id: (\d+)\ndata: (.*)\n\n", text, re.MULTILINE)
    return [(int(number), json.loads(body)) for number, body in found]


@pytest.fixture
async def waiting(caller: Any) -> str:
    """An execution that waits for the signal ``go``; three events so far."""
    return str(await caller.started(WAITS, inputs={"n": 1}, wait_ms=5_000))


async def go(caller: Any, execution_id: str) -> None:
    """Let the execution go on, and wait for its end."""
    answer = await caller.post(f"/executions/{execution_id}/signal", {"name": "go", "payload": 7})
    assert answer.status_code == 200
    assert (await caller.get(f"/executions/{execution_id}?wait_ms=5000")).json()["status"] == "SUCCESS"


def path_of(execution_id: str) -> str:
    return f"/api/app/executions/{execution_id}/stream"


async def test_a_stream_opens_replays_follows_and_closes_after_the_final_frame(
    house: Any, caller: Any, waiting: str, open_stream: Any
) -> None:
    stream = open_stream(house.app(), path_of(waiting), caller)
    await stream.until(lambda s: "id: 2\n" in s.text)
    assert stream.status == 200
    assert stream.headers["content-type"] == "text/event-stream"
    assert stream.headers["cache-control"] == "no-cache, no-transform"
    assert stream.headers["x-accel-buffering"] == "no"
    assert stream.headers["x-request-id"]
    assert stream.text.startswith(": connected\n\nretry: 3000\n\nid: 1\n")
    await go(caller, waiting)
    frames = frames_of(await stream.end())
    assert [number for number, _ in frames] == list(range(1, len(frames) + 1))
    assert [body["type"] for _, body in frames] == [
        "execution_started",
        "node_started",
        "node_output_update",
        "node_completed",
        "node_started",
        "node_completed",
        "execution_completed",
    ]
    assert [body["is_final"] for _, body in frames] == [False] * 6 + [True]
    last = frames[-1][1]
    assert (last["data"]["status"], last["data"]["result"]) == ("SUCCESS", {"echo": 7})


async def test_every_frame_has_the_shape_of_this_door(house: Any, caller: Any, waiting: str, open_stream: Any) -> None:
    await go(caller, waiting)
    frames = frames_of(await open_stream(house.app(), path_of(waiting), caller).end())
    for _, body in frames:
        assert body["content"] == body["data"]
        assert body["session_id"] == body["execution_id"] == body["data"]["execution_id"] == waiting
        assert isinstance(body["timestamp"], int)
        assert body["trace_id"]
    started = frames[1][1]["data"]
    assert (started["node_id"], started["node_name"], started["waits_for"]) == ("w", "gate", "signal")


async def test_readers_see_the_same_whenever_they_come(house: Any, caller: Any, waiting: str, open_stream: Any) -> None:
    app = house.app()
    early = [open_stream(app, path_of(waiting), caller) for _ in range(10)]
    await asyncio.gather(*(stream.until(lambda s: "id: 2\n" in s.text) for stream in early))
    await go(caller, waiting)
    texts = {await stream.end() for stream in early}
    late = await open_stream(house.app(), path_of(waiting), caller).end()
    assert {json.dumps(frames_of(text)) for text in texts} == {json.dumps(frames_of(late))}


@pytest.mark.parametrize("name", ["since", "after", "last_event_id"])
async def test_a_stream_goes_on_behind_a_number(
    house: Any, caller: Any, waiting: str, open_stream: Any, name: str
) -> None:
    await go(caller, waiting)
    text = await open_stream(house.app(), path_of(waiting), caller, query=f"{name}=4").end()
    assert [number for number, _ in frames_of(text)] == [5, 6, 7]


async def test_the_header_wins_over_the_query(house: Any, caller: Any, waiting: str, open_stream: Any) -> None:
    await go(caller, waiting)
    stream = open_stream(house.app(), path_of(waiting), caller, query="since=1", last_event_id="6")
    assert [number for number, _ in frames_of(await stream.end())] == [7]


@pytest.mark.parametrize("cursor", ["-1", "x", "1.5", "1e3", "\u0661", "9" * 30])
async def test_a_cursor_that_is_no_number_is_refused(caller: Any, waiting: str, cursor: str) -> None:
    answer = await caller.get(f"/executions/{waiting}/stream", params={"since": cursor})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_CURSOR")


async def test_two_cursors_that_differ_are_refused(caller: Any, waiting: str) -> None:
    answer = await caller.get(f"/executions/{waiting}/stream?since=1&after=2")
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_REQUEST")


async def test_nothing_left_of_an_ended_execution_is_204(caller: Any, waiting: str) -> None:
    await go(caller, waiting)
    for since in (7, 1_000):
        answer = await caller.get(f"/executions/{waiting}/stream?since={since}")
        assert (answer.status_code, answer.content) == (204, b"")


async def test_a_reader_ahead_of_a_living_execution_waits(
    house: Any, caller: Any, waiting: str, open_stream: Any
) -> None:
    ahead = open_stream(house.app(), path_of(waiting), caller, query="since=4")
    beside = open_stream(house.app(), path_of(waiting), caller)
    await beside.until(lambda s: "id: 2\n" in s.text)
    await go(caller, waiting)
    assert [number for number, _ in frames_of(await ahead.end())] == [5, 6, 7]
    assert len(frames_of(await beside.end())) == 7


async def test_a_reader_that_asked_for_numbers_that_never_come_is_let_go(
    house: Any, caller: Any, waiting: str, open_stream: Any
) -> None:
    at_the_end = open_stream(house.app(), path_of(waiting), caller, query="since=7")
    beyond = open_stream(house.app(), path_of(waiting), caller, query="since=1000")
    await asyncio.gather(*(stream.until(lambda s: s.status == 200) for stream in (at_the_end, beyond)))
    await go(caller, waiting)
    assert frames_of(await at_the_end.end()) == frames_of(await beyond.end()) == []


async def test_a_quiet_stream_is_kept_alive(
    house: Any, caller: Any, waiting: str, open_stream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sse.KEEP_ALIVE_SECONDS <= 10
    monkeypatch.setattr(sse, "KEEP_ALIVE_SECONDS", 0.05)
    stream = open_stream(house.app(), path_of(waiting), caller)
    await stream.until(lambda s: s.text.count(": keep-alive\n\n") >= 3)


async def test_a_stream_ends_whole_when_the_server_drains(
    house: Any, caller: Any, waiting: str, open_stream: Any
) -> None:
    context = house.context()
    stream = open_stream(build_app(context, lambda: b""), path_of(waiting), caller)
    await stream.until(lambda s: "id: 2\n" in s.text)
    context.drain.begin()
    text = await stream.end()
    assert text.endswith("\n\n")
    resumed = open_stream(house.app(), path_of(waiting), caller, last_event_id=str(frames_of(text)[-1][0]))
    await go(caller, waiting)
    assert frames_of(text)[-1][0] + 1 == frames_of(await resumed.end())[0][0]


async def test_a_client_that_leaves_leaves_nothing_behind(
    house: Any, caller: Any, waiting: str, open_stream: Any
) -> None:
    stream = open_stream(house.app(), path_of(waiting), caller)
    await stream.until(lambda s: "id: 2\n" in s.text)
    stream.leave()
    await stream.end()
    assert house.services.watch_execution.feeds == 0


async def test_a_client_that_takes_nothing_is_cut_off(
    house: Any, caller: Any, waiting: str, open_stream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sse.WRITE_SECONDS == 15
    monkeypatch.setattr(sse, "WRITE_SECONDS", 0.1)
    stream = open_stream(house.app(), path_of(waiting), caller)
    await stream.until(lambda s: "id: 2\n" in s.text)
    stream.stall()
    await go(caller, waiting)
    await stream.end()
    assert house.services.watch_execution.feeds == 0


async def test_a_stream_ends_when_its_token_does(
    house: Any, caller: Any, waiting: str, open_stream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "PROOF_SECONDS", 0.0)
    monkeypatch.setattr(sse, "KEEP_ALIVE_SECONDS", 0.05)
    short = dataclasses.replace(caller, token=house.mint(caller, seconds=2))
    stream = open_stream(house.app(), path_of(waiting), short)
    await stream.until(lambda s: "keep-alive" in s.text)
    assert (await stream.end()).endswith("\n\n")
    assert (await caller.get(f"/executions/{waiting}")).json()["status"] == "WAITING"


async def test_too_many_streams_of_one_caller_are_refused(
    house: Any, caller: Any, waiting: str, open_stream: Any
) -> None:
    app = house.app(streams_per_principal=2)
    held = [open_stream(app, path_of(waiting), caller) for _ in range(2)]
    await asyncio.gather(*(stream.until(lambda s: s.status == 200) for stream in held))
    third = open_stream(app, path_of(waiting), caller)
    await third.end()
    assert (third.status, json.loads(third.text)["error"]) == (429, "rate_limit_exceeded")
    assert third.headers["retry-after"]
    held[0].leave()
    await held[0].end()
    again = open_stream(app, path_of(waiting), caller)
    await again.until(lambda s: s.status == 200)


async def test_a_token_in_the_address_opens_a_stream_and_nothing_else(
    house: Any, caller: Any, waiting: str, open_stream: Any, nobody: Any
) -> None:
    await go(caller, waiting)
    long_lived = await nobody.get(path_of(waiting), params={"access_token": caller.token})
    assert (long_lived.status_code, long_lived.json()["reason"]) == (401, "invalid_token")
    short = house.mint(caller, seconds=600)
    text = await open_stream(house.app(), path_of(waiting), query=f"access_token={short}").end()
    assert len(frames_of(text)) == 7
    elsewhere = await nobody.get(f"/api/app/executions/{waiting}", params={"access_token": short})
    assert (elsewhere.status_code, elsewhere.json()["reason"]) == (401, "missing_token")


async def test_accept_decides_nothing(house: Any, caller: Any, waiting: str, open_stream: Any) -> None:
    await go(caller, waiting)
    for accept in ("application/json", "*/*", "text/html"):
        stream = open_stream(house.app(), path_of(waiting), caller, accept=accept)
        await stream.end()
        assert stream.headers["content-type"] == "text/event-stream"


async def test_a_workflow_stream_shows_all_its_executions_from_now_on(
    house: Any, caller: Any, open_stream: Any
) -> None:
    workflow_id = await caller.stored(WAITS)
    before = (await caller.post(f"/workflows/{workflow_id}/execute", {"wait_ms": 5_000})).json()["execution_id"]
    stream = open_stream(house.app(), f"/api/app/workflows/{workflow_id}/stream", caller)
    await stream.until(lambda s: s.text.startswith(": connected"))
    after = (await caller.post(f"/workflows/{workflow_id}/execute", {"wait_ms": 5_000})).json()["execution_id"]
    await go(caller, before)
    await go(caller, after)
    await stream.until(lambda s: s.text.count('"execution_completed"') == 2, seconds=10)
    bodies = [json.loads(line[6:]) for line in stream.text.splitlines() if line.startswith("data: ")]
    assert [body["type"] for body in bodies if body["execution_id"] == after][0] == "execution_started"
    assert [body["type"] for body in bodies if body["execution_id"] == before][0] != "execution_started"
    assert not any(body["is_final"] for body in bodies)
    assert "\nid: " not in stream.text
    stream.leave()
    await stream.end()


async def test_a_long_log_reaches_a_late_reader_whole(house: Any, caller: Any, open_stream: Any) -> None:
    definition = {
        "nodes": [
            {"id": "each", "type": "map", "parameters": {"items": "{{ $json }}"}},
            {"id": "one", "type": "echo"},
        ],
        "connections": [
            {"from_node": "each", "to_node": "one", "output_key": "iteration"},
            {"from_node": "one", "to_node": "each"},
        ],
    }
    execution_id = await caller.started(definition, inputs=list(range(1_500)))
    stream = open_stream(house.app(), path_of(execution_id), caller)
    frames = frames_of(await stream.end(seconds=30))
    assert [number for number, _ in frames] == list(range(1, 3_005))
    late = frames_of(await open_stream(house.app(), path_of(execution_id), caller, query="since=1700").end(seconds=30))
    assert late == frames[1_700:]


async def test_a_reader_that_falls_behind_the_window_catches_up_by_itself(
    house: Any, caller: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "WINDOW", 20)
    definition = {
        "nodes": [{"id": "each", "type": "map", "parameters": {"items": "{{ $json }}"}}, {"id": "one", "type": "echo"}],
        "connections": [
            {"from_node": "each", "to_node": "one", "output_key": "iteration"},
            {"from_node": "one", "to_node": "each"},
        ],
    }
    execution_id = UUID(await caller.started(definition, inputs=list(range(200))))
    principal = await house.identity.authenticate(caller.token)
    slow = await house.services.watch_execution(principal, execution_id, 0)
    quick = await house.services.watch_execution(principal, execution_id, 0)

    async def read(reader: watch.Watch) -> list[int]:
        numbers: list[int] = []
        with contextlib.suppress(StopAsyncIteration):
            while True:
                numbers += [fact.record.seq for fact in await reader.next(5)]
        reader.close()
        return numbers

    assert await read(quick) == list(range(1, 405))
    assert await read(slow) == list(range(1, 405))
    assert house.services.watch_execution.feeds == 0


async def test_a_reader_that_leaves_in_the_middle_costs_no_database_connection(
    house: Any, caller: Any, waiting: str, database: Any
) -> None:
    """A new one takes the database longer than anything that others ask for meanwhile."""
    principal = await house.identity.authenticate(caller.token)

    async def connections() -> set[int]:
        found = await watcher.fetch("select pid from pg_stat_activity where application_name = 'interlock'")
        return {row["pid"] for row in found}

    watcher = await asyncpg.connect(database.superuser_url)
    try:
        (await house.services.watch_execution(principal, UUID(waiting), 0)).close()
        before = await connections()
        for steps in range(20):
            reader = await house.services.watch_execution(principal, UUID(waiting), 0)
            for _ in range(steps % 5):
                await asyncio.sleep(0)  # each time a bit further into its reading
            reader.close()
        assert (await caller.get(f"/executions/{waiting}")).status_code == 200
        assert before <= await connections()
    finally:
        await watcher.close()
