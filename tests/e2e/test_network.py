"""What one server shows to the network: its sockets, its headers, and how it takes slow and greedy clients."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from serving import Serving, descendants

SLOW = 60
CLOSED_WITHIN = 15.0
RSS_GROWTH = 30 * 1024 * 1024
LISTENING = "0A"


@pytest.fixture(scope="module")
def server(database: Any) -> Iterator[Serving]:
    """A server outside local mode, with the limits that it has by default."""
    with tempfile.TemporaryDirectory(prefix="interlock-network-") as folder:
        serving = Serving(Path(folder), database.serve_url)
        try:
            yield serving.ready()
        finally:
            serving.stop()


def listening(pid: int) -> set[tuple[str, int]]:
    """Address (hexadecimal, as the system writes it) and port of every socket on which a process takes connections."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            inodes.add(str(descriptor.readlink()).removeprefix("socket:[").removesuffix("]"))
    found = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[9] in inodes and (fields[3] == LISTENING or table.startswith("udp")):
                address, port = fields[1].split(":")
                found.add((address, int(port, 16)))
    return found


def test_a_server_listens_on_its_one_port_of_loopback_only(server: Serving) -> None:
    """G13."""
    assert listening(server.process.pid) == {("0100007F", server.port)}
    for child in descendants(server.process.pid):
        assert listening(child) == set()


async def test_every_open_answer_has_the_security_headers_and_none_tells_the_software(server: Serving) -> None:
    """G13."""
    async with httpx2.AsyncClient(base_url=server.url) as client:
        for path in ("/", "/live", "/ready", "/health", "/version", "/docs", "/openapi.json", "/nowhere", "/metrics"):
            answer = await client.get(path, headers={"origin": "https://evil.example"})
            assert answer.headers["x-content-type-options"] == "nosniff", path
            assert answer.headers["x-frame-options"] == "DENY", path
            assert answer.headers["referrer-policy"] == "no-referrer", path
            assert "access-control-allow-origin" not in answer.headers, path
            assert "set-cookie" not in answer.headers, path
            assert not {"server", "x-powered-by"} & answer.headers.keys(), path
        policy = (await client.get("/docs")).headers["content-security-policy"]
        assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0]
        assert "frame-ancestors 'none'" in policy
        assert (await client.get("/metrics")).status_code == 401


@contextlib.asynccontextmanager
async def connected(server: Serving) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def slow_client(server: Serving, head: bytes, drops: bytes) -> float:
    """Send ``head`` at once and then a byte a second; how long the server put up with it."""
    began = time.monotonic()
    with contextlib.suppress(ConnectionError):
        async with connected(server) as (reader, writer):
            reading = asyncio.create_task(reader.read())
            reading.add_done_callback(lambda done: done.exception())
            writer.write(head)
            for number in range(60):
                await asyncio.wait([reading], timeout=1.0)
                if reading.done():
                    break
                writer.write(drops[number : number + 1])
    return time.monotonic() - began


POST = b"POST /api/app/workflows HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nAuthorization: Bearer %b\r\n"


async def test_slow_clients_are_gone_within_fifteen_seconds_and_cost_the_others_nothing(server: Serving) -> None:
    """E6: trickled headers, trickled bodies and silence, a third each."""
    token = server.token.encode()
    heads = [
        (b"GET /live HTTP/1.1\r\nHost: h\r\nX-Slow: ", b"x" * 60),
        (POST % token + b"Content-Length: 1000\r\n\r\n", b" " * 60),
        (b"", b""),
    ]
    slow = [asyncio.create_task(slow_client(server, *heads[number % 3])) for number in range(SLOW)]
    waits = []
    async with server.client() as client:
        while not all(task.done() for task in slow):
            began = time.monotonic()
            assert (await client.get("/live")).status_code == 200
            waits.append(time.monotonic() - began)
            await asyncio.sleep(0.1)
    lasted = [await task for task in slow]
    assert max(lasted) < CLOSED_WITHIN
    assert len(waits) > 20
    assert sorted(waits)[int(len(waits) * 0.95)] < 0.5


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


async def test_endless_and_lying_bodies_cost_no_memory(server: Serving) -> None:
    """F3."""
    token = server.token.encode()
    before = resident(server.process.pid)
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    forms = [
        (b"Transfer-Encoding: chunked\r\n\r\n", chunk * 4, 200, b"413"),
        (b"Content-Length: 1000000000000\r\n\r\n", b"x" * 65536, 20, b"413"),
        (b"Content-Length: 1048577\r\n\r\n", b"x" * 65536, 17, b"413"),
        (b"Content-Length: 3\r\n\r\n", b'{"a": 1}', 1, b"400"),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"1;" + b"x" * 65536, 20, b"4"),
    ]
    for headers, piece, pieces, status in forms:
        began = time.monotonic()
        async with connected(server) as (reader, writer):
            reading = asyncio.create_task(reader.read(200))
            reading.add_done_callback(lambda done: done.exception())
            writer.write(POST % token + headers)
            with contextlib.suppress(ConnectionError):
                for _ in range(pieces):
                    writer.write(piece)
                    await writer.drain()
                    if reading.done():
                        break
                told = await asyncio.wait_for(reading, CLOSED_WITHIN)
                assert told.startswith(b"HTTP/1.1 " + status), (headers, told)
        assert time.monotonic() - began < CLOSED_WITHIN
    async with server.client() as client:
        assert (await client.get("/live")).status_code == 200
    assert resident(server.process.pid) - before < RSS_GROWTH
