"""Slow, silent, greedy and ambiguous clients, over real sockets: each is refused in time, and nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvicorn

from interlock.bootstrap.last_calls import take_no_more
from interlock.doors.http.plumbing.client import ClientAddresses
from interlock.doors.http.plumbing.connections import SWEEP_SECONDS, Connections, WireLimits
from interlock.doors.http.plumbing.intake import Intake
from interlock.doors.http.plumbing.sse import ABORT
from interlock.doors.http.plumbing.wire import protocol_over

LIMITS = WireLimits(
    first_byte=0.5, headers=1.0, body_grace=1.0, body_rate=1000, stalled=1.0, lingering=0.5, per_address=40
)
SLACK = 4 * SWEEP_SECONDS  # the machine may be busy
BIG = 8 * 1024 * 1024


class App:
    """Answers what it saw; remembers every request that reached it."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.cut = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.seen.append((scope["method"], scope["path"]))
        assert callable(scope["extensions"][ABORT])
        if scope["path"] == "/stream":
            await self._stream(send)
            return
        body, more = b"", scope["path"] != "/unread"
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.cut += 1
                return
            body += message["body"]
            more = message["more_body"]
            if scope["path"] == "/late":
                await asyncio.sleep(2.5)
        names = sorted(name.decode() for name, _ in scope["headers"])
        told = b"x" * BIG if scope["path"] == "/big" else json.dumps({"length": len(body), "names": names}).encode()
        headers = [(b"content-length", b"%d" % len(told))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": told})

    async def _stream(self, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(30):
            await send({"type": "http.response.body", "body": b"tick\n", "more_body": True})
            await asyncio.sleep(0.1)
        await send({"type": "http.response.body", "body": b"end\n"})


class Served:
    """A server on a port of its own."""

    def __init__(self, limits: WireLimits, exempt: Callable[[str], bool] = lambda address: False) -> None:
        self.app = App()
        self.clients: list[Client] = []
        self.connections = Connections(limits, exempt)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        protocol = protocol_over(self.connections)
        config = uvicorn.Config(self.app, http=protocol, ws="none", lifespan="off", log_config=None, access_log=False)
        self.server = uvicorn.Server(config)
        self.server.capture_signals = contextlib.nullcontext  # type: ignore[assignment, method-assign]

    async def connect(self, limit: int = 1 << 20) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port, limit=limit))
        self.clients.append(client)
        return client


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.began = time.monotonic()

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def trickle(self, data: bytes, seconds: float = 0.2) -> bytes:
        """One byte after the other until the server has enough; what it says of that."""
        reading = asyncio.create_task(self.rest(20))
        with contextlib.suppress(ConnectionError):
            for number in range(len(data)):
                self._writer.write(data[number : number + 1])
                await self._writer.drain()
                await asyncio.wait([reading], timeout=seconds)
                if reading.done():
                    break
        return await reading

    async def rest(self, seconds: float = 10.0) -> bytes:
        """All that comes until the server closes the connection."""
        parts = b""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(seconds):
                while part := await self._reader.read(65536):
                    parts += part
        return parts

    async def answer(self) -> tuple[int, bytes]:
        """Status and body of one answer with a length."""
        head = await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), 10)
        length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line)
        return int(head.split()[1]), await asyncio.wait_for(self._reader.readexactly(length), 10)

    @property
    def lasted(self) -> float:
        return time.monotonic() - self.began

    def close(self) -> None:
        self._writer.close()

    async def leave(self) -> None:
        self.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Any]]:
    """Starts servers; they are stopped at the end."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(limits: WireLimits = LIMITS, **more: Any) -> Served:
            served = Served(limits, **more)
            running = asyncio.create_task(served.server.serve(sockets=[served.listener]))
            async with asyncio.timeout(10):
                while not served.server.started:
                    await asyncio.sleep(0.01)

            async def stop() -> None:
                for client in served.clients:
                    await client.leave()
                served.server.should_exit = served.server.force_exit = True
                await running
                served.listener.close()

            stack.push_async_callback(stop)
            return served

        yield start


@pytest.fixture
async def served(serve: Callable[..., Any]) -> Served:
    result: Served = await serve()
    return result


GET = b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n"


async def test_a_silent_connection_is_closed_without_a_word(served: Served) -> None:
    client = await served.connect()
    assert await client.rest() == b""
    assert LIMITS.first_byte <= client.lasted < LIMITS.first_byte + SLACK
    assert served.app.seen == []


async def test_more_than_a_turn_takes_up_is_answered_too_and_who_leaves_meanwhile_harms_nobody(served: Served) -> None:
    served.connections.intake = Intake(1)
    clients = [await served.connect() for _ in range(30)]
    for client in clients:
        client.send(b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nab")
    for client in clients[::3]:
        client.close()
    staying = [client for number, client in enumerate(clients) if number % 3]
    for client in staying:
        client.send(b"c" + GET)
    for client in staying:
        assert [(await client.answer())[0] for _ in range(2)] == [200, 200]


async def test_trickled_headers_are_cut_off(served: Served) -> None:
    client = await served.connect()
    told = await client.trickle(b"GET /x HTTP/1.1\r\nHost: h\r\nX-Slow: " + b"x" * 100)
    assert told.startswith(b"HTTP/1.1 408 ")
    assert client.lasted < LIMITS.headers + SLACK
    assert served.app.seen == []


async def test_empty_lines_do_not_keep_a_connection_open(served: Served) -> None:
    client = await served.connect()
    await client.trickle(b"\r\n" * 100)
    assert client.lasted < LIMITS.headers + SLACK


async def test_empty_lines_after_an_answer_do_not_either(served: Served) -> None:
    client = await served.connect()
    client.send(GET)
    await client.answer()
    client.began = time.monotonic()
    await client.trickle(b"\r\n" * 100)
    assert client.lasted < LIMITS.headers + SLACK


@pytest.mark.parametrize("framing", [b"Content-Length: 1000", b"Transfer-Encoding: chunked"])
async def test_a_trickled_body_is_cut_off_and_the_app_hears_of_it(served: Served, framing: bytes) -> None:
    client = await served.connect()
    client.send(b"POST /x HTTP/1.1\r\nHost: h\r\n" + framing + b"\r\n\r\n")
    assert (await client.trickle(b"1\r\nx\r\n" * 50)).startswith(b"HTTP/1.1 408 ")
    assert client.lasted < LIMITS.body_grace + SLACK + 0.5
    assert served.app.cut == 1


async def test_a_body_that_comes_fast_enough_may_take_longer(served: Served) -> None:
    client = await served.connect()
    client.send(b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 8000\r\n\r\n")
    for _ in range(20):
        client.send(b"x" * 400)
        await asyncio.sleep(0.15)
    assert (await client.answer())[0] == 200
    assert client.lasted > LIMITS.body_grace + SWEEP_SECONDS


async def test_time_in_which_the_app_does_not_read_is_not_the_clients(served: Served) -> None:
    client = await served.connect()
    client.send(b"POST /late HTTP/1.1\r\nHost: h\r\nContent-Length: 300000\r\n\r\n" + b"x" * 150_000)
    client.send(b"x" * 150_000)
    assert json.loads((await client.answer())[1])["length"] == 300_000


async def test_a_client_that_does_not_read_is_dropped(served: Served) -> None:
    client = await served.connect(limit=1024)
    client.send(b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n")
    async with asyncio.timeout(LIMITS.stalled + SLACK):
        while not served.connections.refused["stalled"]:
            await asyncio.sleep(0.05)
    assert len(await client.rest()) < BIG


async def test_a_stream_may_last_and_idle_connections_may_wait(served: Served) -> None:
    stream, idle = await served.connect(), await served.connect()
    stream.send(b"GET /stream HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    idle.send(GET)
    await idle.answer()
    assert (await stream.rest()).endswith(b"end\n\r\n0\r\n\r\n")
    idle.send(GET)
    assert (await idle.answer())[0] == 200


async def test_a_stray_line_end_behind_a_request_does_not_end_its_stream(served: Served) -> None:
    client = await served.connect()
    client.send(b"GET /stream HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n\r\n")
    assert b"end\n" in await client.rest()


async def test_pipelined_requests_are_answered_in_order(served: Served) -> None:
    client = await served.connect()
    client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % number for number in range(5)))
    assert [(await client.answer())[0] for _ in range(5)] == [200] * 5
    assert served.app.seen == [("GET", f"/{number}") for number in range(5)]


@pytest.mark.parametrize(
    "headers",
    [
        b"X: " + b"x" * 70_000 + b"\r\n\r\n",
        b"X: " + b"x" * 70_000,
        b"".join(b"X-%d: 1\r\n" % number for number in range(101)) + b"\r\n",
        b"".join(b"X: " + b"x" * 1000 + b"\r\n" for _ in range(70)) + b"\r\n",
    ],
    ids=["one large", "one large without end", "many", "many large"],
)
async def test_too_large_headers_are_refused(served: Served, headers: bytes) -> None:
    client = await served.connect()
    client.send(b"GET /x HTTP/1.1\r\nHost: h\r\n" + headers)
    assert (await client.rest()).startswith(b"HTTP/1.1 431 ")
    assert served.app.seen == []


async def test_a_too_long_address_is_refused(served: Served) -> None:
    client = await served.connect()
    client.send(b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n")
    assert (await client.rest()).startswith(b"HTTP/1.1 431 ")


async def test_trailers_never_become_headers_and_are_bounded(served: Served) -> None:
    begin = b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
    client = await served.connect()
    client.send(begin + b"Authorization: forged\r\nHost: evil\r\n\r\n")
    _, told = await client.answer()
    assert json.loads(told)["names"] == ["host", "transfer-encoding"]
    client = await served.connect()
    client.send(begin + b"X: " + b"x" * 70_000 + b"\r\n\r\n")
    assert (await client.rest()).startswith(b"HTTP/1.1 431 ")


SECOND = b"GET /second HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: h\r\n"
AMBIGUOUS = {
    "length and chunked": POST + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
    "chunked and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nG",
    "two lengths": POST + b"Content-Length: 0\r\nContent-Length: 40\r\n\r\n",
    "two equal lengths": POST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    "a list of lengths": POST + b"Content-Length: 1, 1\r\n\r\nx",
    "a signed length": POST + b"Content-Length: +1\r\n\r\nx",
    "a hexadecimal length": POST + b"Content-Length: 0x1\r\n\r\nx",
    "a negative length": POST + b"Content-Length: -1\r\n\r\n",
    "an endless length": POST + b"Content-Length: 99999999999999999999\r\n\r\n",
    "another coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n",
    "chunked, then identity": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
    "space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a folded header": POST + b"X: a\r\n Transfer-Encoding: chunked\r\n\r\n",
    "a leading space": b"POST /x HTTP/1.1\r\n Host: h\r\nX: y\r\n\r\n",
    "a bare line feed": b"POST /x HTTP/1.1\nHost: h\nContent-Length: 0\n\n",
    "a line feed among headers": b"GET /x HTTP/1.1\r\nHost: h\nX: a\r\n\r\n",
    "a bare carriage return": b"GET /x HTTP/1.1\r\nHost: h\rX: a\r\n\r\n",
    "NUL in a header": b"GET /x HTTP/1.1\r\nHost: h\r\nX: a\x00b\r\n\r\n",
    "NUL in a name": b"GET /x HTTP/1.1\r\nHost: h\r\nX\x00: a\r\n\r\n",
    "a control character": b"GET /x HTTP/1.1\r\nHost: h\r\nX: a\x01b\r\n\r\n",
    "two hosts": b"GET /x HTTP/1.1\r\nHost: h\r\nHost: evil\r\n\r\n",
    "no host": b"GET /x HTTP/1.1\r\n\r\n",
    "another host in the target": b"GET http://evil/x HTTP/1.1\r\nHost: h\r\n\r\n",
    "a target that is no path": b"GET x HTTP/1.1\r\nHost: h\r\n\r\n",
    "a target with a user": b"GET @evil/x HTTP/1.1\r\nHost: h\r\n\r\n",
    "the server itself": b"GET * HTTP/1.1\r\nHost: h\r\n\r\n",
    "a tunnel": b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n",
    "bytes in the target": b"GET /\xff\xfe HTTP/1.1\r\nHost: h\r\n\r\n",
    "a version of its own": b"GET /x HTTP/1.2\r\nHost: h\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET /x\r\n\r\n",
    "a bad chunk size": POST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "a huge chunk size": POST + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    "a chunk without its end": POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
    "a chunk size with a line feed": POST + b"Transfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n",
    "TLS": bytes.fromhex("16030100c4010000c00303") + b"x" * 50,
    "noise": bytes(range(256)) * 4,
}


@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_a_request_with_two_meanings_has_none(served: Served, name: str) -> None:
    client = await served.connect()
    client.send(AMBIGUOUS[name] + SECOND)
    told = await client.rest()
    assert told.startswith(b"HTTP/1.1 400 "), told[:200]
    assert told.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in told
    assert json.loads(told.partition(b"\r\n\r\n")[2])["code"] == "INVALID_REQUEST"
    assert ("GET", "/second") not in served.app.seen
    assert client.lasted < 5


async def test_ordinary_requests_of_every_form_are_answered(served: Served) -> None:
    for request in (
        GET,
        b"GET /x HTTP/1.0\r\n\r\n",
        b"GET http://h/x HTTP/1.1\r\nHost: h\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1;a=b\r\nx\r\n0\r\n\r\n",
        b"POST /unread HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
        b"POST /x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
        b"\r\n\r\n" + GET,
    ):
        client = await served.connect()
        client.send(request)
        told = await client._reader.readuntil(b"\r\n\r\n")
        assert told.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 100 ")), (request, told)
        client.close()


async def test_nonsense_behind_a_request_never_mixes_with_its_answer(served: Served) -> None:
    client = await served.connect()
    client.send(b"GET /stream HTTP/1.1\r\nHost: h\r\n\r\n")
    await client._reader.readuntil(b"tick\n")
    client.send(b"\x00nonsense\r\n\r\n")
    client.send(b"more of it" * 10)
    told = await client.rest()
    assert b"HTTP/1.1" not in told
    assert told.endswith(b"end\n\r\n0\r\n\r\n"), "the answer that was under way is whole"


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


async def test_sixty_slow_clients_cost_the_others_nothing(serve: Any) -> None:
    served = await serve(WireLimits(first_byte=0.5, headers=1.0, body_grace=1.0))
    slow = [await served.connect() for _ in range(60)]
    heads = [b"", b"GET /slow HTTP/1.1\r\nHost: ", b"POST /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n"]
    for number, client in enumerate(slow):
        client.send(heads[number % 3])
    trickling = [asyncio.create_task(c.trickle(b"x" * 100 * (n % 3))) for n, c in enumerate(slow)]
    waits = []
    for _ in range(20):
        client = await served.connect()
        began = time.monotonic()
        client.send(GET)
        assert (await client.answer())[0] == 200
        waits.append(time.monotonic() - began)
        client.close()
    await asyncio.gather(*trickling)
    assert max(client.lasted for client in slow) < 1.0 + SLACK + 1
    assert sorted(waits)[18] < 0.5
    async with asyncio.timeout(5):
        while len(served.connections):
            await asyncio.sleep(0.05)


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
