"""All sessions of a tenant on one socket: woken by hints, found without them, none forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection

from doors.socket_house import Port, frame, served
from interlock.services.executions import polling, watch_workflow

ECHO = {"flow_id": "echo_test_flow", "params": {"input": "x"}}
NEVER = 3_600.0


@pytest.fixture
async def port(house: Any) -> AsyncIterator[Port]:
    async with served(house.context()) as found:
        yield found


async def watching(port: Port, tempo: Any) -> ClientConnection:
    """A socket over all sessions, which has taken stock."""
    connection = await port.socket("*", f"?tenant_id={tempo.tenant_id}")
    await connection.send('{"type":"PING"}')
    assert await frame(connection) == {"type": "HEARTBEAT"}
    return connection


async def ticks(connection: ClientConnection, count: int) -> dict[str, list[int]]:
    """The numbers of so many frames, by session."""
    found: dict[str, list[int]] = {}
    for _ in range(count):
        event = await frame(connection)
        found.setdefault(event["session_id"], []).append(event["tick"])
    return found


async def test_hints_alone_bring_every_event(port: Port, tempo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_workflow, "LOOK_SECONDS", NEVER)
    monkeypatch.setattr(polling, "POLL_SECONDS", NEVER)
    old = await tempo.started(ECHO)
    connection = await watching(port, tempo)
    new = await tempo.started(ECHO)
    await tempo.pushed(old, "USER_CONFIRM")
    assert await ticks(connection, 8) == {new: [1, 2, 3, 4, 5], old: [6, 7, 8]}
    await tempo.pushed(new, "USER_CONFIRM")
    assert await ticks(connection, 3) == {new: [6, 7, 8]}
    await connection.close()


async def test_lost_hints_are_made_up_for(house: Any, port: Port, tempo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_workflow, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(polling, "POLL_SECONDS", 0.2)
    bus = house.services.watch_workflow._bus
    monkeypatch.setattr(bus, "log_grew", lambda *told: None)
    connection = await watching(port, tempo)
    one = await tempo.started(ECHO)
    assert await ticks(connection, 5) == {one: [1, 2, 3, 4, 5]}
    await tempo.pushed(one, "USER_CONFIRM")
    assert await ticks(connection, 3) == {one: [6, 7, 8]}
    await connection.close()


async def test_more_sessions_than_are_followed_at_once(
    house: Any, port: Port, tempo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_workflow, "MAX_FOLLOWED", 2)
    old = [await tempo.started(ECHO) for _ in range(3)]
    connection = await watching(port, tempo)
    new = [await tempo.started(ECHO) for _ in range(4)]
    seen = await ticks(connection, 20)
    assert seen == {session_id: [1, 2, 3, 4, 5] for session_id in new}
    for session_id in (*old, *new):
        await tempo.put(f"/api/state/{session_id}/k", 1)
    assert await ticks(connection, 7) == {session_id: [6] for session_id in (*old, *new)}
    assert house.services.watch_execution.feeds <= 2
    await connection.close()


async def test_another_tenant_and_other_kinds_are_not_shown(port: Port, tempo: Any, caller: Any) -> None:
    connection = await watching(port, tempo)
    await caller.started({"nodes": [{"id": "a", "type": "echo"}]}, wait_ms=5_000)
    mine = await tempo.started(ECHO)
    assert set(await ticks(connection, 5)) == {mine}
    await connection.close()


async def test_many_watchers_of_all_share_the_reading(house: Any, port: Port, tempo: Any) -> None:
    connections = await asyncio.gather(*(watching(port, tempo) for _ in range(5)))
    sessions = await asyncio.gather(*(tempo.started(ECHO) for _ in range(5)))
    expected = {session_id: [1, 2, 3, 4, 5] for session_id in sessions}
    for found in await asyncio.gather(*(ticks(connection, 25) for connection in connections)):
        assert found == expected
    assert house.services.watch_execution.feeds == len(sessions)
    for connection in connections:
        await connection.close()
