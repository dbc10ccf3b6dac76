"""What every egress backend promises about servers that mean harm: bounded time, memory and work, typed errors."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import resource
import time
import zlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

import pytest
import uvloop

from interlock.backends.egress.client import GuardedEgress
from interlock.core.errors import ErrorKind, InterlockError
from interlock.ports.egress import Egress, EgressResponse

MIB = 1_048_576
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
UNTIL_CLOSED = OK + b"Connection: close\r\n\r\n"
ENDLESS = {
    "headers": (OK, b"a: b\r\n" * 1000),
    "one header": (OK + b"a: ", b"b" * 60_000),
    "many large headers": (OK, b"".join(b"h%d: %s\r\n" % (n, b"v" * 7000) for n in range(200))),
    "status line": (b"HTTP/1.1 200 ", b"a" * 60_000),
    "1xx answers": (b"", b"HTTP/1.1 100 \r\n\r\n" * 4000),
    "1xx answers with headers": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 2000),
    "chunk extension": (CHUNKED + b"1;", b"a" * 60_000),
    "chunk size": (CHUNKED, b"0" * 60_000),
    "trailers": (CHUNKED + b"0\r\n", b"a: b\r\n" * 1000),
    "empty lines": (b"", b"\r\n" * 30_000),
    "garbage": (b"", b"\x00\xff" * 30_000),
    "data after switching protocols": (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"a" * 60_000,
    ),
}
Serve = Callable[[asyncio.StreamWriter], Awaitable[None]]
Ask = Callable[[Egress, str], Coroutine[Any, Any, None]]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def meet(request: pytest.FixtureRequest) -> Callable[[Serve, Ask], None]:
    """Run one server that answers every connection by ``serve``, and ``ask`` with a client and the server's URL."""

    async def main(serve: Serve, ask: Ask) -> None:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await reader.readuntil(b"\r\n\r\n")
                await serve(writer)
                await writer.drain()
            except (ConnectionError, asyncio.IncompleteReadError):
                pass  # the client has had enough, which is what these tests want
            finally:
                writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        egress = GuardedEgress(["loopback"])
        try:
            await ask(egress, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        finally:
            await egress.close()
            server.close()

    def run(serve: Serve, ask: Ask) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(main(serve, ask))

    return run


Meet = Callable[[Serve, Ask], None]


def sending(*parts: bytes, forever: bytes = b"") -> Serve:
    """Send ``parts``, then ``forever`` again and again, then close."""
    endless: Iterable[bytes] = itertools.repeat(forever) if forever else ()

    async def serve(writer: asyncio.StreamWriter) -> None:
        for part in itertools.chain(parts, endless):
            writer.write(part)
            await writer.drain()

    return serve


def answered(meet: Meet, serve: Serve, **changes: Any) -> EgressResponse:
    options = {"method": "GET", "headers": {}, "body": None, "timeout": 20.0, "max_bytes": MIB} | changes
    answers: list[EgressResponse] = []

    async def ask(egress: Egress, url: str) -> None:
        answers.append(await egress.request(url=url, **options))

    meet(serve, ask)
    return answers[0]


def failed(meet: Meet, serve: Serve, **changes: Any) -> InterlockError:
    with pytest.raises(InterlockError) as failure:
        answered(meet, serve, **changes)
    return failure.value


@pytest.fixture
def little_memory() -> Iterable[None]:
    """The peak of this process may grow by less than 20 MB during the test."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("kind", ENDLESS)
def test_endless_framing_is_cut_off_soon_and_cheaply(meet: Meet, kind: str) -> None:
    """J4."""
    beginning, forever = ENDLESS[kind]
    started, cpu = time.monotonic(), time.process_time()
    failure = failed(meet, sending(beginning, forever=forever))
    assert (failure.kind, failure.code) == (ErrorKind.EXTERNAL, "EXTERNAL_SERVICE_ERROR")
    assert time.process_time() - cpu < 1
    assert time.monotonic() - started < 10


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize(
    ("beginning", "forever"),
    [
        (UNTIL_CLOSED, b"a" * 65_536),
        (OK + b"Content-Length: 10000000000\r\n\r\n", b"a" * 65_536),
        (CHUNKED, b"10000\r\n" + b"a" * 65_536 + b"\r\n"),
        (CHUNKED, b"1\r\na\r\n" * 10_000),
    ],
)
def test_an_endless_body_is_cut_at_the_limit(meet: Meet, beginning: bytes, forever: bytes) -> None:
    """J4."""
    answer = answered(meet, sending(beginning, forever=forever), max_bytes=100_000)
    assert answer.body == b"a" * 100_000
    assert answer.truncated


@pytest.mark.parametrize(("size", "truncated"), [(0, False), (99, False), (100, False), (101, True)])
def test_only_a_body_over_the_limit_is_truncated(meet: Meet, size: int, truncated: bool) -> None:
    answer = answered(meet, sending(UNTIL_CLOSED, b"a" * size), max_bytes=100)
    assert (answer.body, answer.truncated) == (b"a" * min(size, 100), truncated)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_compression_bomb_is_cut_at_the_limit_of_inflated_bytes(meet: Meet, encoding: str) -> None:
    """J4."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31 if encoding == "gzip" else 15)
    bomb = b"".join(packer.compress(bytes(MIB)) for _ in range(200)) + packer.flush()
    assert len(bomb) < 250_000
    head = UNTIL_CLOSED.replace(b"\r\n\r\n", b"\r\nContent-Encoding: " + encoding.encode() + b"\r\n\r\n")
    answer = answered(meet, sending(head, bomb))
    assert (len(answer.body), answer.truncated) == (MIB, True)


@pytest.mark.usefixtures("little_memory")
def test_an_endless_compressed_body_that_inflates_to_nothing_ends(meet: Meet) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    beginning = packer.flush(zlib.Z_FULL_FLUSH)
    head = UNTIL_CLOSED.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
    answer = answered(meet, sending(head, beginning, forever=b"\x00\x00\x00\xff\xff" * 10_000))
    assert (answer.body, answer.truncated) == (b"", True)


def test_a_compressed_body_that_was_not_asked_for_is_inflated(meet: Meet) -> None:
    packed = gzip.compress(b"hello " * 1000)
    head = OK + b"Content-Encoding: GZip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    answer = answered(meet, sending(head, packed))
    assert (answer.body, answer.truncated) == (b"hello " * 1000, False)
    assert not {"content-encoding", "content-length"} & answer.headers.keys()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        (b"br", b"\x0b\x02\x80hello\x03"),
        (b"zstd", b"anything"),
        (b"gzip, gzip", gzip.compress(gzip.compress(b"hello", mtime=0), mtime=0)),
        (b"gzip", b"this is not gzip"),
        (b"gzip", gzip.compress(b"hello", mtime=0)[:-9]),
    ],
)
def test_a_body_that_cannot_be_inflated_is_an_error_of_the_other_side(meet: Meet, encoding: bytes, body: bytes) -> None:
    head = UNTIL_CLOSED.replace(b"\r\n\r\n", b"\r\nContent-Encoding: " + encoding + b"\r\n\r\n")
    failure = failed(meet, sending(head, body))
    assert (failure.code, failure.retryable) == ("EXTERNAL_SERVICE_ERROR", False)


def test_an_answer_without_a_body_may_name_any_encoding(meet: Meet) -> None:
    head = OK + b"Content-Encoding: br\r\nContent-Length: 12\r\n\r\n"
    answer = answered(meet, sending(head), method="HEAD")
    assert (answer.status, answer.body, answer.truncated) == (200, b"", False)


@pytest.mark.parametrize(
    ("parts", "retryable"),
    [
        ((), True),
        ((OK,), True),
        ((OK + b"Content-Length: 10\r\n\r\n", b"short"), True),
        ((CHUNKED + b"5\r\nhello\r\n",), True),
        ((CHUNKED + b"a\r\nhello",), True),
        ((CHUNKED + b"zz\r\nhello\r\n",), False),
        ((OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",), False),
        ((OK + b"Content-Length: -1\r\n\r\n",), False),
        ((OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",), False),
        ((b"SSH-2.0-OpenSSH_9.9\r\n",), False),
        ((b"HTTP/9.9 200 OK\r\n\r\n",), False),
        ((OK + b"a b: c\r\n\r\n",), False),
    ],
)
def test_a_broken_answer_is_an_error_of_the_other_side(meet: Meet, parts: tuple[bytes, ...], retryable: bool) -> None:
    """J4."""
    failure = failed(meet, sending(*parts))
    assert (failure.code, failure.retryable) == ("EXTERNAL_SERVICE_ERROR", retryable)


def test_bytes_after_the_body_are_not_taken_for_the_next_answer(meet: Meet) -> None:
    smuggled = OK + b"Content-Length: 8\r\n\r\nsmuggled"
    first = OK + b"Content-Length: 5\r\n\r\nfirst"
    bodies = []

    async def ask(egress: Egress, url: str) -> None:
        for _ in range(3):
            answer = await egress.request("GET", url, headers={}, body=None, timeout=10, max_bytes=100)
            bodies.append(answer.body)

    meet(sending(first + smuggled), ask)
    assert bodies == [b"first"] * 3


@pytest.mark.parametrize(
    "beginning", [b"", OK, OK + b"Content-Length: 10\r\n\r\n", CHUNKED, b"HTTP/1.1 100 Continue\r\n\r\n"]
)
def test_a_server_that_falls_silent_meets_the_deadline(meet: Meet, beginning: bytes) -> None:
    async def serve(writer: asyncio.StreamWriter) -> None:
        writer.write(beginning)
        await writer.drain()
        await asyncio.Event().wait()

    started = time.monotonic()
    failure = failed(meet, serve, timeout=0.2)
    assert (failure.kind, failure.code, failure.retryable) == (ErrorKind.TIMEOUT, "TIMEOUT", True)
    assert 0.15 < time.monotonic() - started < 5


@pytest.mark.parametrize("beginning", [OK + b"a: ", UNTIL_CLOSED])
def test_a_server_that_drips_meets_the_same_deadline(meet: Meet, beginning: bytes) -> None:
    """J4."""

    async def serve(writer: asyncio.StreamWriter) -> None:
        for part in itertools.chain([beginning], itertools.repeat(b"a")):
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.01)  # the drip itself

    assert failed(meet, serve, timeout=0.3).code == "TIMEOUT"


def test_a_large_ordinary_answer_comes_whole(meet: Meet) -> None:
    body = b"0123456789" * 500_000
    head = OK + b"Content-Length: %d\r\n" % len(body)
    headers = b"".join(b"x-h%d: %s\r\n" % (n, b"v" * 200) for n in range(100))
    answer = answered(
        meet, sending(b"HTTP/1.1 100 Continue\r\n\r\n" * 3, head + headers + b"\r\n" + body), max_bytes=5 * MIB
    )
    assert (answer.status, answer.body, answer.truncated) == (200, body, False)
    assert answer.headers["x-h99"] == "v" * 200
