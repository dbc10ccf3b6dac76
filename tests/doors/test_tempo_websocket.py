"""The socket of the tempo door, with an ordinary client, against a server as a user starts it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from doors.tempo_house import Tempo
from interlock.kit.ids import RandomIds
from served import RunningServer

ECHO = {"flow_id": "echo_test_flow", "params": {"input": "x"}}


@pytest.fixture
async def served(server: RunningServer) -> AsyncIterator[Tempo]:
    tenant_id = f"t-{RandomIds().new().hex}"
    async with httpx2.AsyncClient(base_url=server.url, headers={"X-Tenant-Id": tenant_id}) as client:
        yield Tempo(client, tenant_id)


def socket(server: RunningServer, tempo: Tempo, session_id: str, query: str = "", **options: Any) -> connect:
    url = server.url.replace("http://", "ws://")
    return connect(f"{url}/ws/events/{session_id}?tenant_id={tempo.tenant_id}{query}", **options)


async def frame(connection: ClientConnection) -> Any:
    async with asyncio.timeout(10):
        return json.loads(await connection.recv())


async def until(connection: ClientConnection, kind: str) -> list[Any]:
    """All frames up to the first of a type."""
    found = [await frame(connection)]
    while found[-1]["type"] != kind:
        found.append(await frame(connection))
    return found


async def close_code(connection: ClientConnection) -> int | None:
    """The code of the close that comes, whatever comes before it."""
    try:
        while True:
            await frame(connection)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd is not None else None


async def test_a_session_that_ended_is_replayed_and_closed(server: RunningServer, served: Tempo) -> None:
    session_id = await served.started(ECHO)
    await served.pushed(session_id, "USER_CONFIRM", payload={"a": 1})
    async with socket(server, served, session_id, "&after=0") as connection:
        frames = [await frame(connection) for _ in range(8)]
        assert await close_code(connection) == 1000
    assert [found["tick"] for found in frames] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [found["type"] for found in frames] == [
        "SESSION_START",
        "CMD_EXECUTE",
        "EVENT_RESULT",
        "STEP_DONE",
        "STATE_TRANSITION",
        "USER_CONFIRM",
        "STATE_TRANSITION",
        "SESSION_COMPLETE",
    ]
    assert len({found["trace_id"] for found in frames[:5]}) == 1
    assert len({found["trace_id"] for found in frames[5:]}) == 1
    assert frames == await served.events(session_id)


async def test_a_watcher_goes_on_where_it_left_off(server: RunningServer, served: Tempo) -> None:
    session_id = await served.started(ECHO)
    async with socket(server, served, session_id, "&after=4") as connection:
        assert (await frame(connection))["tick"] == 5
        await served.pushed(session_id, "USER_CONFIRM")
        assert [(await frame(connection))["tick"] for _ in range(3)] == [6, 7, 8]
        assert await close_code(connection) == 1000
    async with socket(server, served, session_id, "&after=8") as connection:
        assert await close_code(connection) == 1000


async def test_live_leaves_the_past_out(server: RunningServer, served: Tempo) -> None:
    session_id = await served.started(ECHO)
    async with socket(server, served, session_id, "&live=1") as connection:
        await connection.send('{"type":"PING"}')
        assert await frame(connection) == {"type": "HEARTBEAT"}
        await served.pushed(session_id, "USER_CONFIRM")
        assert (await frame(connection))["tick"] == 6


async def test_a_client_pushes_events_and_only_it_gets_the_answer(server: RunningServer, served: Tempo) -> None:
    session_id = await served.started(ECHO)
    async with (
        socket(server, served, session_id, "&live=1") as one,
        socket(server, served, session_id, "&live=1") as other,
    ):
        await other.send('{"type":"PING"}')
        assert await frame(other) == {"type": "HEARTBEAT"}, "from here on it watches"
        await one.send(json.dumps({"type": "NOPE", "id": "c1"}))
        answer = await frame(one)
        assert (answer["type"], answer["tick"]) == ("EVENT_ERROR", 0)
        assert answer["payload"]["in_reply_to"] == "c1"
        assert answer["payload"]["code"] == "INVALID_TRANSITION"
        await one.send(json.dumps({"event_type": "USER_CONFIRM", "payload": {"b": 2}, "id": "c2"}))
        seen = await until(one, "SESSION_COMPLETE")
        told = [await frame(other) for _ in range(3)]
        assert [found["type"] for found in told] == ["USER_CONFIRM", "STATE_TRANSITION", "SESSION_COMPLETE"]
        assert told[0]["payload"] == {"b": 2}
        answers = [found for found in seen if found["tick"] == 0]
        expected = {"in_reply_to": "c2", "ok": True, "new_state": "end", "session_state": "completed"}
        assert all(found["payload"] == expected for found in answers)


async def test_all_sessions_of_a_tenant_live(server: RunningServer, served: Tempo) -> None:
    async with socket(server, served, "*") as connection:
        await connection.send('{"type":"PING"}')
        assert await frame(connection) == {"type": "HEARTBEAT"}
        first, second = await served.started(ECHO), await served.started(ECHO)
        found = [await frame(connection) for _ in range(10)]
        assert {event["session_id"] for event in found} == {first, second}
        for session_id in (first, second):
            assert [event["tick"] for event in found if event["session_id"] == session_id] == [1, 2, 3, 4, 5]
        await connection.send(json.dumps({"event_type": "USER_CONFIRM", "session_id": first}))
        kinds = {(await frame(connection))["type"] for _ in range(4)}
        assert kinds == {"USER_CONFIRM", "STATE_TRANSITION", "SESSION_COMPLETE", "EVENT_RESULT"}


async def test_why_a_socket_is_closed(server: RunningServer, served: Tempo) -> None:
    async with socket(server, served, "nope") as connection:
        assert await close_code(connection) == 4404
    session_id = await served.started(ECHO)
    url = f"{server.url.replace('http', 'ws', 1)}/ws/events/{session_id}"
    async with connect(f"{url}?tenant_id=another") as connection:
        assert await close_code(connection) == 4404
    async with connect(f"{url}?token=wrong") as connection:
        assert await close_code(connection) == 4401
    async with socket(server, served, session_id, "&after=x") as connection:
        assert await close_code(connection) == 1008
    async with socket(server, served, session_id) as connection:
        await connection.send("{")
        assert await close_code(connection) == 1007
    async with socket(server, served, session_id, max_size=None) as connection:
        await connection.send(json.dumps({"type": "X", "payload": "x" * 70_000}))
        assert await close_code(connection) == 1009
    async with socket(server, served, session_id, "&live=1") as connection:
        for _ in range(25):
            await connection.send('{"type":"PING"}')
        assert await close_code(connection) == 1008


async def test_pages_of_others_may_not_connect(server: RunningServer, served: Tempo) -> None:
    session_id = await served.started(ECHO)
    with pytest.raises(InvalidStatus) as refused:
        async with socket(server, served, session_id, origin="https://evil.example"):
            pass
    assert refused.value.response.status_code == 403
    async with socket(server, served, session_id, origin="http://localhost:3000") as connection:
        assert (await frame(connection))["tick"] == 1


async def test_many_watchers_miss_nothing(server: RunningServer, served: Tempo) -> None:
    session_id = await served.started(ECHO)
    connections = [await socket(server, served, session_id) for _ in range(10)]
    try:
        for number in range(20):
            await served.put(f"/api/state/{session_id}/k", number)
        await served.pushed(session_id, "USER_CONFIRM")
        for connection in connections:
            assert [found["tick"] for found in await until(connection, "SESSION_COMPLETE")] == list(range(1, 29))
    finally:
        for connection in connections:
            await connection.close()


async def test_a_first_message_says_from_where_also_where_nobody_need_say_who_is_there(
    server: RunningServer, served: Tempo
) -> None:
    session_id = await served.started(ECHO)
    async with socket(server, served, session_id) as connection:
        await connection.send('{"type":"auth","after":3}')
        assert [(await frame(connection))["tick"] for _ in range(2)] == [4, 5]
        await connection.send('{"type":"PING"}')
        assert await frame(connection) == {"type": "HEARTBEAT"}
    async with socket(server, served, session_id) as connection:
        await connection.send('{"type":"PING"}')
        frames = [await frame(connection) for _ in range(6)]
        assert {"type": "HEARTBEAT"} in frames, "a first message of another kind is not lost"
        assert [found["tick"] for found in frames if "tick" in found] == [1, 2, 3, 4, 5]
