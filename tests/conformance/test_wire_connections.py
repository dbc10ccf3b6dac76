"""How many connections a server holds, and how each of them ends with it, over real sockets."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from collections.abc import Callable
from typing import Any

import pytest

from interlock.bootstrap.last_calls import take_no_more
from interlock.doors.http.plumbing.client import ClientAddresses
from interlock.doors.http.plumbing.connections import Connections, WireLimits
from wire_house import GET, LIMITS, Served


async def test_one_connection_too_many_of_an_address_is_refused_and_the_rest_go_on(serve: Any) -> None:
    served = await serve(WireLimits(per_address=10, first_byte=20.0))
    kept = [await served.connect() for _ in range(10)]
    for _ in range(20):
        told = await (await served.connect()).rest()
        assert told.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1" in told
    for client in kept:
        client.send(GET)
        assert (await client.answer())[0] == 200
    kept.pop().close()
    async with asyncio.timeout(5):
        while len(served.connections) > 9:
            await asyncio.sleep(0.01)
    client = await served.connect()
    client.send(GET)
    assert (await client.answer())[0] == 200


async def test_a_proxy_in_front_may_hold_any_number_up_to_the_total(serve: Any) -> None:
    served = await serve(
        WireLimits(per_address=2, total=6, first_byte=20.0), exempt=ClientAddresses(["loopback"]).is_proxy
    )
    kept = [await served.connect() for _ in range(6)]
    assert (await (await served.connect()).rest()).startswith(b"HTTP/1.1 503 ")
    for client in kept:
        client.send(GET)
        assert (await client.answer())[0] == 200


class Peer:
    """A connection of which only the address matters."""

    def __init__(self, address: str) -> None:
        self.address = address

    def look(self, now: float, passed: float) -> None:
        """It takes as long as it likes."""


async def test_a_subscriber_of_ipv6_is_one_address() -> None:
    connections = Connections(WireLimits(per_address=1))
    one, neighbour, other = map(Peer, ("2001:db8:1:2:aaaa::1", "2001:db8:1:2:bbbb::2", "2001:db8:1:3::1"))
    assert connections.enter(one)
    assert not connections.enter(neighbour)
    assert connections.enter(other)
    for peer in (one, neighbour, other):
        connections.leave(peer)
        connections.leave(peer)
    assert len(connections) == 0
    assert connections.enter(neighbour)
    connections.leave(neighbour)


async def test_a_draining_server_ends_each_connection_with_its_next_answer(served: Served) -> None:
    client = await served.connect()
    client.send(GET)
    await client.answer()
    served.connections.is_draining = True
    client.send(GET)
    told = await client.rest()
    assert told.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in told


async def test_a_request_that_comes_right_after_the_connection_is_answered_although_the_server_ends(
    served: Served,
) -> None:
    client = await served.connect()
    async with asyncio.timeout(10):
        while not served.connections:
            await asyncio.sleep(0.01)
    served.connections.is_draining = True
    for connection in list(served.server.server_state.connections):
        connection.shutdown()
    await asyncio.sleep(0.1)
    client.send(GET)
    assert (await client.answer())[0] == 200
    assert await client.rest() == b""


async def test_a_request_that_came_before_the_end_is_answered(serve: Callable[..., Any]) -> None:
    """Also if nobody has read it yet: to close on it would reset the connection."""
    served = await serve(dataclasses.replace(LIMITS, last_moment=0.0))
    idle, asking = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(2)]
    async with asyncio.timeout(10):
        while len(served.connections) < 2:
            await asyncio.sleep(0.01)
    asking.sendall(GET)  # the server's loop is this one, and does not turn before the next await
    served.connections.is_draining = True
    for connection in list(served.server.server_state.connections):
        connection.shutdown()
    for client, status in ((idle, b""), (asking, b"HTTP/1.1 200 OK")):
        reader, writer = await asyncio.open_connection(sock=client)
        assert (await asyncio.wait_for(reader.read(), 10)).partition(b"\r\n")[0] == status
        writer.close()


def test_who_waits_when_a_port_is_given_up_is_taken_and_nobody_else() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    waiting = socket.create_connection(listener.getsockname(), 10)
    take_no_more(listener)
    late = socket.socket()
    late.setblocking(False)
    late.connect_ex(listener.getsockname())
    taken, _ = listener.accept()
    with pytest.raises(BlockingIOError):
        listener.accept()
    waiting.sendall(b"hello")
    taken.settimeout(10)
    assert taken.recv(5) == b"hello"
    with pytest.raises(OSError, match="not connected"):
        late.getpeername()
    for one in (waiting, taken, late, listener):
        one.close()
