"""Hostile and lazy clients of the socket, over real connections: each is closed in time, and nobody else notices."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from doors.socket_house import Port, RawSocket, client_frame, closed, eventually, frame, served
from interlock.doors.http.plumbing import socket as socket_module
from interlock.doors.http.plumbing import sse
from interlock.doors.http.plumbing.socket_wire import payload_of, text_frame

ECHO = {"flow_id": "echo_test_flow", "params": {"input": "x"}}
TEXT, BINARY, CONT, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
KIB = 1024


@pytest.fixture
async def port(house: Any) -> AsyncIterator[Port]:
    async with served(house.context()) as found:
        yield found


@pytest.fixture
async def session_id(tempo: Any) -> str:
    return str(await tempo.started(ECHO))


@pytest.fixture
async def raw(port: Port, tempo: Any, session_id: str) -> AsyncIterator[RawSocket]:
    found = await port.raw(session_id, f"?tenant_id={tempo.tenant_id}&live=1")
    assert found.head.startswith(b"HTTP/1.1 101")
    yield found
    await found.close()


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ([client_frame(TEXT, b"{}", masked=False)], 1002),
        ([client_frame(TEXT, b"\xcaH\xcd\xc9\xc9\x07\x00", rsv=4)], 1002),  # compressed, which was not agreed on
        ([client_frame(TEXT, b"{}", rsv=2)], 1002),
        ([client_frame(3, b"{}")], 1002),
        ([client_frame(CONT, b"{}")], 1002),
        ([client_frame(TEXT, b"{", fin=False), client_frame(TEXT, b"}")], 1002),
        ([client_frame(PING, b"x" * 126)], 1002),
        ([client_frame(PING, b"x", fin=False)], 1002),
        ([client_frame(CLOSE, b"\x03")], 1002),
        ([client_frame(TEXT, b"\xff\xfe")], 1007),
        ([client_frame(TEXT, b'{"type":"\xed\xa0\x80"}')], 1007),
        ([client_frame(TEXT, b"[]")], 1007),
        ([client_frame(TEXT, b'{"type":NaN}')], 1007),
        ([client_frame(TEXT, b'{"a":' * 100 + b"1" + b"}" * 100)], 1007),
        ([client_frame(BINARY, b"\x00")], 1007),
        ([client_frame(TEXT, b"x" * (64 * KIB + 1))], 1009),
        ([client_frame(TEXT, b"")[:1] + b"\xff" + (10 << 20).to_bytes(8, "big") + bytes(4)], 1009),
        ([client_frame(TEXT, b"x" * 40 * KIB, fin=False), client_frame(CONT, b"x" * 40 * KIB)], 1009),
        ([client_frame(TEXT, b"", fin=False), *[client_frame(CONT, b"", fin=False)] * 500], 1008),
        ([client_frame(PING, b"x")] * 500, 1008),
        ([client_frame(PONG, b"x")] * 500, 1008),
        ([client_frame(TEXT, b'{"type":"PING"}')] * 1_000, 1008),
    ],
    ids=lambda value: "" if isinstance(value, list) else str(value),
)
async def test_a_frame_that_may_not_be_ends_its_connection_alone(
    port: Port, tempo: Any, raw: RawSocket, session_id: str, sent: list[bytes], code: int
) -> None:
    async with port.socket(session_id, f"?tenant_id={tempo.tenant_id}&live=1") as other:
        await raw.write(*sent)
        assert await raw.close_code() == code
        await other.send('{"type":"PING"}')
        assert await frame(other) == {"type": "HEARTBEAT"}


async def test_nothing_is_compressed_and_no_subprotocol_is_spoken(port: Port, tempo: Any, session_id: str) -> None:
    offers = ("Sec-WebSocket-Extensions: permessage-deflate", "Sec-WebSocket-Protocol: graphql-ws, mqtt")
    found = await port.raw(session_id, f"?tenant_id={tempo.tenant_id}", *offers)
    assert found.head.startswith(b"HTTP/1.1 101")
    assert b"sec-websocket-extensions" not in found.head.lower()
    assert b"sec-websocket-protocol" not in found.head.lower()
    await found.close()


async def test_pages_of_others_may_not_connect(port: Port, tempo: Any, session_id: str) -> None:
    for origin in ("https://evil.example", "null", "http://localhost.evil.example"):
        with pytest.raises(InvalidStatus):
            async with port.socket(session_id, f"?tenant_id={tempo.tenant_id}", origin=origin):
                pass


async def test_a_client_that_leaves_leaves_nothing_behind(
    house: Any, port: Port, tempo: Any, raw: RawSocket, session_id: str
) -> None:
    places = [port.socket(session_id, f"?tenant_id={tempo.tenant_id}") for _ in range(5)]
    places.append(port.socket("*", f"?tenant_id={tempo.tenant_id}"))
    opened = [await place for place in places]
    await opened[-1].send('{"type":"PING"}')
    assert await frame(opened[-1]) == {"type": "HEARTBEAT"}
    await tempo.started(ECHO)  # is followed for the sake of the last one
    await frame(opened[-1])
    await eventually(lambda: house.services.watch_execution.feeds == 2)
    for connection in opened[:-1]:
        await connection.close()
    opened[-1].transport.abort()
    raw.writer.transport.abort()
    async with asyncio.timeout(1):
        while house.services.watch_execution.feeds:
            await asyncio.sleep(0.01)
    await eventually(lambda: house.telemetry.streams_open("tempo") == 0)
    await eventually(lambda: len(port.connections) == 0)
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert not names & {"proofs", "watch-polling"}


async def test_who_never_reads_is_cut_off_and_delays_nobody(
    house: Any, port: Port, tempo: Any, raw: RawSocket, session_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert socket_module.WRITE_SECONDS == sse.WRITE_SECONDS == 15
    monkeypatch.setattr(socket_module, "WRITE_SECONDS", 0.3)
    raw.writer.transport.pause_reading()
    dropped = dropped_of(house)
    text = "x" * 30_000  # just small enough to stand in its frame
    async with port.socket(session_id, f"?tenant_id={tempo.tenant_id}&live=1", max_size=None) as other:
        number = 0
        async with asyncio.timeout(20):
            while dropped_of(house) == dropped:
                number += 1
                await tempo.put(f"/api/state/{session_id}/k", f"{number} {text}")
                assert (await frame(other))["tick"] == 5 + number
    await eventually(lambda: len(port.connections) <= 1)


def dropped_of(house: Any) -> float:
    return float(house.telemetry.registry.get_sample_value("interlock_streams_dropped_total", {"door": "tempo"}) or 0)


async def test_a_draining_server_says_where_to_go_on(port: Port, tempo: Any, session_id: str) -> None:
    query = f"?tenant_id={tempo.tenant_id}"
    async with port.socket(session_id, query) as here, port.socket("*", query) as everywhere:
        for wanted in range(1, 6):
            assert (await frame(here))["tick"] == wanted
        port.context.drain.begin()
        assert await closed(here) == (1012, "resume after=5")
        assert (await closed(everywhere))[0] == 1012
    async with port.socket(session_id, query) as late:
        assert (await closed(late))[0] == 1012


async def test_a_large_event_goes_by_reference(port: Port, tempo: Any, session_id: str) -> None:
    """K7: what is too large for the log is named, not sent."""
    async with port.socket(session_id, f"?tenant_id={tempo.tenant_id}&live=1") as connection:
        await tempo.pushed(session_id, "USER_CONFIRM", payload={"big": "x" * 900_000})
        event = await frame(connection)
    assert event["type"] == "USER_CONFIRM"
    assert len(json.dumps(event)) < 100_000
    assert event["payload"]["omitted"]


def test_a_frame_can_be_taken_apart_again() -> None:
    for size in (0, 1, 125, 126, 65_535, 65_536, 200_000):
        payload = b"x" * size
        assert payload_of(text_frame(payload)) == payload


async def test_a_stream_needs_no_more_than_http_1_0(port: Port, house: Any, caller: Any) -> None:
    """K8: through a proxy of that kind it comes as it is made, and the same is to be had by asking again and again."""
    execution_id = await caller.started({"nodes": [{"id": "a", "type": "echo"}]}, wait_ms=5_000)
    reader, writer = await asyncio.open_connection("127.0.0.1", port.number)
    path = f"/api/app/executions/{execution_id}/stream"
    writer.write(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {caller.token}\r\n\r\n".encode())
    async with asyncio.timeout(10):
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert await reader.readuntil(b"\n\n") == b": connected\n\n"
        rest = (await reader.read(-1)).decode()
        writer.close()
        await writer.wait_closed()
    assert b"x-accel-buffering: no" in head
    assert b"cache-control: no-cache, no-transform" in head
    assert b"transfer-encoding" not in head
    numbers = [int(line[4:]) for line in rest.splitlines() if line.startswith("id: ")]
    asked = (await caller.get(f"/executions/{execution_id}/events")).json()["events"]
    assert numbers == [event["seq"] for event in asked]
