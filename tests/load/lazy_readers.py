"""Readers that read nothing, leave at once, or only wait: the server keeps its shape, and the others their pace.

    PYTHONPATH=src python tests/load/lazy_readers.py idle --seconds 60
    PYTHONPATH=src python tests/load/lazy_readers.py unread --seconds 60
    PYTHONPATH=src python tests/load/lazy_readers.py replay

*idle* (K5): 2,000 event streams and 500 WebSockets of sessions at rest; files, memory and open streams must come back
to where they were. *unread* (K3): 300 readers that take nothing beside 50 that do; the former are cut off, the latter
stay below 1 s. *replay* (K4): 200 readers of a log of 100,000 events leave in the middle of it; other requests must not
take more than twice as long, and nothing of them stays. Prints one JSON object; the exit code is 1 if that does not
hold. Times are milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import resource
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

sys.path.insert(0, str(Path(__file__).parent))

from stand import Stand, cpu_seconds, percentiles, resident_mb, stand
from wire_client import WireClient

from serving import Serving
from stream_house import Turner

PER_PRINCIPAL, PER_TENANT = 20, 1_000
KEEP_ALIVE_SECONDS = 10.0
SETTINGS = {"INTERLOCK_CONNECTIONS_PER_ADDRESS": "20000"}
EVENTS = 100_000
PLANT = """
insert into interlock.events (execution_id, seq, tenant_id, private_to, type, data, at, trace_id, format)
select e.execution_id, e.seq + n, e.tenant_id, e.private_to, 'task.progressed',
  '{"task_id":"t","node_id":"n","message":"further"}', e.at, e.trace_id, e.format
from interlock.events e, generate_series(1, $2) n
where e.execution_id = $1 and e.seq = (select max(seq) from interlock.events where execution_id = $1)
"""


class Stream(asyncio.Protocol):
    """One event stream; ``gaps`` are the seconds between what comes."""

    def __init__(self, server: Serving, session: str, token: str) -> None:
        self._server, self._session, self._token = server, session, token
        self._transport: Any = None
        self._last = 0.0
        self.has_begun = asyncio.Event()
        self.longest = 0.0
        self.is_over = False

    async def open(self) -> Stream:
        """Ask, and wait for the first byte."""
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, "127.0.0.1", self._server.port)
        async with asyncio.timeout(60):
            await self.has_begun.wait()
        return self

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.write(
            f"GET /api/app/executions/{self._session}/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {self._token}\r\n\r\n".encode()
        )

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_over = True

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        if self.has_begun.is_set():
            self.longest = max(self.longest, now - self._last)
        else:
            assert data.startswith(b"HTTP/1.1 200"), data[:200]
        self._last = now
        self.has_begun.set()

    def leave(self) -> None:
        """Go without a word."""
        self._transport.abort()


def tokens_of(found: Stand, tenant: str, count: int) -> list[str]:
    """One credential for each of so many streams, shared as far as the limit allows."""
    own = [found.token(f"reader-{number}", tenant) for number in range(-(-count // PER_PRINCIPAL))]
    return [own[number // PER_PRINCIPAL] for number in range(count)]


def files(server: Serving) -> int:
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


async def metric(server: Serving, name: str) -> float:
    """The sum of a metric over its labels."""
    async with aiohttp.ClientSession() as http, http.get(f"{server.url}/metrics") as answer:
        text = await answer.text()
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE))


async def emptied(server: Serving) -> float:
    """Seconds until no stream is open any more."""
    begun = time.monotonic()
    async with asyncio.timeout(30):
        while await metric(server, "interlock_streams_open") > 0:
            await asyncio.sleep(0.05)
    return round(time.monotonic() - begun, 2)


async def idle(streams: int, sockets: int, seconds: float) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        found = await stand(stack, 1, **SETTINGS)
        server = found.servers[0]
        opened: list[Stream | WireClient] = []
        before: dict[str, float] = {}
        for place in range(-(-(streams + sockets) // PER_TENANT)):
            tenant = f"idle-{place}"
            turner = await stack.enter_async_context(Turner(found.token("author", tenant), lambda: [server]))
            sessions = [await turner.start() for _ in range(50)]
            if not before:
                await asyncio.sleep(2)
                before = {"files": files(server), "mb": resident_mb(server.process.pid)}
            count = min(PER_TENANT, streams + sockets - len(opened))
            for number, token in enumerate(tokens_of(found, tenant, count)):
                opened.append(await _open(server, sessions[number % 50], token, len(opened) < streams))
        begun, spent = time.monotonic(), cpu_seconds(server.process.pid)
        await asyncio.sleep(seconds)
        spent = (cpu_seconds(server.process.pid) - spent) / (time.monotonic() - begun)
        held = {"files": files(server), "mb": resident_mb(server.process.pid)}
        silences = [one.longest for one in opened if isinstance(one, Stream)]
        over = sum(one.is_over if isinstance(one, Stream) else one.is_over.is_set() for one in opened)
        for one in opened:
            one.leave()
        gone = await emptied(server)
        await asyncio.sleep(3)
        after = {"files": files(server), "mb": resident_mb(server.process.pid)}
        return {
            "streams": streams,
            "sockets": sockets,
            "seconds": seconds,
            "ended_early": over,
            "longest_silence": round(max(silences), 1),
            "server_cpu_cores": round(spent, 2),
            "before": before,
            "held": held,
            "after": after,
            "seconds_until_none_was_open": gone,
            "holds": over == 0 and max(silences) <= KEEP_ALIVE_SECONDS + 2 and after["files"] <= before["files"] + 20,
        }


async def _open(server: Serving, session: str, token: str, is_stream: bool) -> Stream | WireClient:
    if is_stream:
        return await Stream(server, session, token).open()
    return await WireClient(f"{server.url.replace('http', 'ws', 1)}/ws/events/{session}", token).connect()


async def unread(lazy: int, diligent: int, seconds: float) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        found = await stand(stack, 1, **SETTINGS)
        server = found.servers[0]
        turner = await stack.enter_async_context(Turner(found.token("author", "t"), lambda: [server]))
        sessions = [await turner.start() for _ in range(5)]
        tokens = tokens_of(found, "t", lazy + diligent)
        ages: list[float] = []
        url = f"{server.url.replace('http', 'ws', 1)}/ws/events"
        clients = []
        for number, token in enumerate(tokens):
            is_lazy = number >= diligent
            client = WireClient(
                f"{url}/{sessions[number % 5]}?live=1",
                token,
                None if is_lazy else lambda _, tick, age: ages.append(age),
            )
            clients.append(await client.connect(4096 if is_lazy else 0))
            if is_lazy:
                client.stop_reading()
        sizes: list[float] = []
        begun, number = time.monotonic(), 0
        text = "x" * 30_000  # the largest that events carry themselves is little more
        while time.monotonic() - begun < seconds:
            for session in sessions:
                await turner.write(session, "k", f"{number} {text}")
            number += 1
            sizes.append(resident_mb(server.process.pid))
            await asyncio.sleep(0.2)
        dropped = await metric(server, "interlock_streams_dropped_total")
        still = await metric(server, "interlock_streams_open")
        return {
            "lazy": lazy,
            "diligent": diligent,
            "seconds": seconds,
            "dropped": dropped,
            "open_at_the_end": still,
            "delay": percentiles(ages),
            "server_mb": [sizes[0], max(sizes), sizes[-1]],
            "holds": dropped == lazy and still == diligent and percentiles(ages)["p95"] < 1_000,
        }


async def replay(times: int) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        found = await stand(stack, 1, **SETTINGS)
        server = found.servers[0]
        turner = await stack.enter_async_context(Turner(found.token("author", "t"), lambda: [server]))
        session, other = await turner.start(), await turner.start()
        database = await asyncpg.connect(found.superuser_url)
        await database.execute(PLANT, session, EVENTS)
        await database.close()
        token = found.token("reader", "t")
        http = await stack.enter_async_context(aiohttp.ClientSession(headers={"authorization": f"Bearer {token}"}))

        async def ask(seconds: list[float], stop: asyncio.Event) -> None:
            while not stop.is_set():
                begun = time.perf_counter()
                async with http.get(f"{server.url}/api/workflow/{other}/state") as answer:
                    assert answer.status == 200
                    await answer.read()
                seconds.append(time.perf_counter() - begun)
                await asyncio.sleep(0.01)

        async def during(work: Any) -> dict[str, Any]:
            stop, seconds = asyncio.Event(), list[float]()
            asking = asyncio.create_task(ask(seconds, stop))
            await work
            stop.set()
            await asking
            return percentiles(seconds)

        async def leave_early() -> None:
            for _ in range(times):
                stream = await Stream(server, session, token).open()
                stream.leave()
                await asyncio.sleep(0.05)

        alone = await during(asyncio.sleep(3))
        beside = await during(leave_early())
        gone = await emptied(server)
        begun = time.perf_counter()
        whole = await _read_all(http, server, session)
        return {
            "events": EVENTS,
            "times": times,
            "alone": alone,
            "beside": beside,
            "seconds_until_none_was_open": gone,
            "one_whole_replay": {"events": whole, "seconds": round(time.perf_counter() - begun, 1)},
            "server_mb": resident_mb(server.process.pid),
            "holds": gone <= 1 and whole >= EVENTS and beside["p99"] <= 2 * max(alone["p99"], 10.0),
        }


async def _read_all(http: aiohttp.ClientSession, server: Serving, session: str) -> int:
    """Read a log from its begin until nothing more comes; how many events it has."""
    count = 0
    async with http.get(f"{server.url}/api/app/executions/{session}/stream") as answer:
        async for line in answer.content:
            if line.startswith(b"id: "):
                count += 1
                assert int(line[4:]) == count
            elif line.startswith(b": keep-alive"):
                break
    return count


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["idle", "unread", "replay"])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of readers")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    scale = options.scale
    if options.part == "idle":
        found = asyncio.run(idle(int(2_000 * scale), int(500 * scale), options.seconds))
    elif options.part == "unread":
        found = asyncio.run(unread(int(300 * scale), int(50 * scale), options.seconds))
    else:
        found = asyncio.run(replay(int(200 * scale)))
    print(json.dumps({**found, "load_average": os.getloadavg()}, indent=2))
    return int(not found["holds"])


if __name__ == "__main__":
    sys.exit(main())
