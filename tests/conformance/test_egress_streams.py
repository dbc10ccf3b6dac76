"""What every egress backend promises about answers that are read while they come, and about its connections."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio

from interlock.backends.egress.client import GuardedEgress
from interlock.core.errors import ErrorKind, InterlockError
from interlock.ports.egress import EgressAnswer, StreamingEgress

OK = b"HTTP/1.1 200 OK\r\n"
HELLO = OK + b"Content-Length: 5\r\n\r\nhello"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
ABC, END = b"3\r\nabc\r\n", b"0\r\n\r\n"


@dataclass
class Server:
    """Answers each request by the next of ``answers``, and the last one for all further ones."""

    answers: list[Callable[[asyncio.StreamWriter], Awaitable[None]]]
    port: int = 0
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                await answer(writer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            self.left.set()
        finally:
            writer.close()


def saying(*parts: bytes) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(parts))

    return answer


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()


@asynccontextmanager
async def serving(*answers: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[Server]:
    server = Server(list(answers))
    listening = await asyncio.start_server(server.connected, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()


@pytest_asyncio.fixture
async def egress() -> AsyncIterator[GuardedEgress]:
    egress = GuardedEgress(["loopback"])
    yield egress
    await egress.close()


def opening(egress: StreamingEgress, url: str, **changes: Any) -> Any:
    options = {"headers": {}, "body": None, "timeout": 10.0, "idle": 10.0} | changes
    return egress.open("POST", url, **options)


async def read(egress: StreamingEgress, url: str) -> bytes:
    async with opening(egress, url) as answer:
        return bytes(await answer.read(1000))


async def first_of(answer: EgressAnswer) -> bytes:
    async for piece in answer.pieces():
        return piece
    return b""


async def test_one_connection_carries_one_call_after_the_other(egress: GuardedEgress) -> None:
    async with serving(saying(HELLO), saying(CHUNKED, ABC, END)) as server:
        assert [await read(egress, server.url) for _ in range(4)] == [b"hello", b"abc", b"abc", b"abc"]
        assert (server.connections, len(server.requests)) == (1, 4)


async def test_calls_at_the_same_time_have_a_connection_each_and_share_them_later(egress: GuardedEgress) -> None:
    async with serving(saying(HELLO)) as server:
        for _ in range(3):
            found = await asyncio.gather(*(read(egress, server.url) for _ in range(50)))
            assert found == [b"hello"] * 50
        assert 2 <= server.connections <= 50


async def test_what_came_at_once_is_one_piece(egress: GuardedEgress) -> None:
    async with serving(saying(CHUNKED, ABC * 20, END)) as server, opening(egress, server.url) as answer:
        assert [piece async for piece in answer.pieces()] == [b"abc" * 20]


async def test_an_answer_whose_end_is_about_to_come_leaves_its_connection(egress: GuardedEgress) -> None:
    may_end = asyncio.Event()

    async def end_later(writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + ABC)
        await may_end.wait()
        writer.write(ABC + END)

    async with serving(end_later, saying(HELLO)) as server, asyncio.timeout(5):
        async with opening(egress, server.url) as answer:
            assert await first_of(answer) == b"abc"
            answer.suffices()
        may_end.set()
        for _ in range(50):  # turns of the loop that both sides share, a few of which bring the end
            await asyncio.sleep(0)
        assert await read(egress, server.url) == b"hello"
        assert server.connections == 1


async def test_who_leaves_an_answer_hangs_up(egress: GuardedEgress) -> None:
    async with serving(saying(CHUNKED, ABC), saying(HELLO)) as server, asyncio.timeout(5):
        async with opening(egress, server.url) as answer:
            assert await first_of(answer) == b"abc"
        await server.left.wait()
        assert await read(egress, server.url) == b"hello"
        assert server.connections == 2


async def test_a_call_that_met_the_end_of_its_connection_goes_out_once_more(egress: GuardedEgress) -> None:
    async with serving(saying(HELLO), hang_up, saying(HELLO)) as server:
        assert [await read(egress, server.url) for _ in range(2)] == [b"hello"] * 2
        assert (server.connections, len(server.requests)) == (2, 3)


async def test_what_changes_something_is_not_sent_twice_by_a_whole_call(egress: GuardedEgress) -> None:
    whole: dict[str, Any] = {"headers": {}, "body": None, "timeout": 5.0, "max_bytes": 100}
    async with serving(saying(HELLO), hang_up, saying(HELLO), hang_up, saying(HELLO)) as server:
        await egress.request("GET", server.url, **whole)
        with pytest.raises(InterlockError, match="closed the connection"):
            await egress.request("POST", server.url, **whole)
        assert len(server.requests) == 2
        await egress.request("GET", server.url, **whole)
        assert (await egress.request("GET", server.url, **whole)).body == b"hello"
        assert len(server.requests) == 5


async def test_after_the_first_byte_nothing_is_sent_again(egress: GuardedEgress) -> None:
    async def begin(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 2")
        await writer.drain()
        writer.close()

    async with serving(saying(HELLO), begin) as server:
        await read(egress, server.url)
        with pytest.raises(InterlockError) as failed:
            await read(egress, server.url)
        assert (failed.value.code, failed.value.retryable) == ("EXTERNAL_SERVICE_ERROR", True)
        assert "connected" not in failed.value.details
        assert len(server.requests) == 2


async def test_words_that_nobody_asked_for_end_the_connection(egress: GuardedEgress) -> None:
    async def talk_on(writer: asyncio.StreamWriter) -> None:
        writer.write(HELLO)
        await writer.drain()
        await asyncio.sleep(0)
        writer.write(OK + b"Content-Length: 8\r\n\r\nsmuggled")

    async with serving(talk_on) as server, asyncio.timeout(5):
        assert await read(egress, server.url) == b"hello"
        await server.left.wait()
        assert await read(egress, server.url) == b"hello"
        assert server.connections == 2


async def test_a_head_that_does_not_come_and_a_body_that_stops_meet_their_deadlines(egress: GuardedEgress) -> None:
    async with serving(saying(b"HTTP/1.1 200"), saying(CHUNKED, ABC)) as server:
        with pytest.raises(InterlockError, match=r"no answer within 0\.1 seconds") as late:
            async with opening(egress, server.url, timeout=0.1):
                pass
        assert (late.value.kind, late.value.code) == (ErrorKind.TIMEOUT, "TIMEOUT")
        async with opening(egress, server.url, idle=0.1) as answer:
            pieces = answer.pieces()
            assert await anext(pieces) == b"abc"
            with pytest.raises(InterlockError, match=r"stopped for 0\.1 seconds"):
                await anext(pieces)


async def test_a_body_that_is_cut_off_is_told_after_all_that_came(egress: GuardedEgress) -> None:
    async def cut(writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + ABC)
        await writer.drain()
        writer.close()

    async with serving(cut) as server, opening(egress, server.url) as answer:
        pieces = answer.pieces()
        assert await anext(pieces) == b"abc"
        with pytest.raises(InterlockError, match="incomplete answer"):
            await anext(pieces)


async def test_a_packed_body_is_not_relayed(egress: GuardedEgress) -> None:
    packed = OK + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"
    async with serving(saying(packed)) as server, opening(egress, server.url) as answer:
        with pytest.raises(InterlockError, match="compressed"):
            await answer.read(100)


async def test_a_server_waits_for_a_reader_that_is_slower(egress: GuardedEgress) -> None:
    stalled = asyncio.Event()
    parts = 400

    async def pour(writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"Content-Length: %d\r\n\r\n" % (parts * 100_000))
        for _ in range(parts):
            writer.write(b"a" * 100_000)
            draining = asyncio.ensure_future(writer.drain())
            done, _ = await asyncio.wait({draining}, timeout=None if stalled.is_set() else 0.2)
            if not done:
                stalled.set()
                await draining

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with serving(pour) as server, asyncio.timeout(20), opening(egress, server.url) as answer:
        await stalled.wait()
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000
        assert sum([len(piece) async for piece in answer.pieces()]) == parts * 100_000
