"""C3: one execution that everybody writes to and everybody reads: one order, no gap, the same for all.

And many executions that get their signal in the moment in which they go to rest: the two must not miss each other.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from uuid import UUID

import aiohttp

from crash.client import APP
from crash.clock import steady
from crash.judge import check_common
from crash.stage import Stage
from crash.workflows import resting

TITLE = "one hot execution, 16 writers and 20 readers"
WRITERS = 16
FOLLOWERS = 10
PAGERS = 10
PAGE_SECONDS = 0.4
CROSSING_SECONDS = 0.03
"""About as long as an execution needs from its start to its rest."""
FLOW = {
    "name": "hot",
    "kind": "flow",
    "states": ["open", "closed"],
    "initial_state": "open",
    "user_input_states": ["open"],
    "terminal_states": ["closed"],
    "transitions": [
        {"from": "open", "event": "PUSH", "to": "open"},
        {"from": "open", "event": "CLOSE", "to": "closed"},
    ],
}
COUNT = "select count(*) from interlock.events where execution_id = $1"
SIGNALS = """
select data ->> 'signal_id', count(*) from interlock.events
where execution_id = $1 and type = 'signal.received' group by 1"""


class Reader:
    """One reader: the ids it was shown, and a digest of each frame."""

    def __init__(self, stage: Stage, url: str, path: str, *, pages: bool) -> None:
        self._stage = stage
        self._url = url + path
        self._pages = pages
        self.ids: list[int] = []
        self.frames: dict[int, str] = {}
        self.connections = 0

    async def read(self) -> None:
        """Read to the end: in one stream, or in short visits that go on after the last id."""
        while not await self._visit():
            pass

    async def _visit(self) -> bool:
        """One connection; True at the end of the log."""
        self.connections += 1
        last = {"Last-Event-ID": str(self.ids[-1])} if self.ids else {}
        timeout = aiohttp.ClientTimeout(total=None, sock_read=60)
        try:
            async with asyncio.timeout(PAGE_SECONDS if self._pages else None):
                headers = self._stage.client.headers() | last
                async with self._stage.client.session.get(self._url, headers=headers, timeout=timeout) as response:
                    if response.status == 204:
                        return True
                    if response.status == 429:  # the seat of its last visit is not free yet
                        await asyncio.sleep(float(response.headers["Retry-After"]))
                        return False
                    if response.status != 200:
                        raise RuntimeError(f"the stream answered {response.status}: {await response.text()}")
                    async for number, data in _frames(response.content):
                        self.ids.append(number)
                        self.frames[number] = hashlib.blake2b(data.encode(), digest_size=8).hexdigest()
        except TimeoutError:
            return False
        return not self._pages  # a stream ends with the log, a visit may have ended by itself


async def _frames(content: aiohttp.StreamReader) -> AsyncIterator[tuple[int, str]]:
    number = 0
    async for raw in content:
        line = raw.decode().rstrip("\n")
        if line.startswith("id:"):
            number = int(line[3:])
        elif line.startswith("data:") and number:
            yield number, line[5:]
            number = 0


async def run(stage: Stage) -> None:
    """Write from both servers, read from both, compare everything with the log."""
    verdict, total = stage.verdict, stage.scale.c3_signals
    servers = [await stage.add_server(name) for name in ("one", "two")]
    execution_id = await stage.start(await stage.store(FLOW), "hot", wait_ms=5000)
    path = f"{APP}/executions/{execution_id}"
    readers = [
        Reader(stage, servers[number % 2].url, f"{path}/stream", pages=number >= FOLLOWERS)
        for number in range(FOLLOWERS + PAGERS)
    ]
    reading = [asyncio.create_task(reader.read()) for reader in readers]
    begun = steady()
    refused: list[str] = []
    await asyncio.gather(
        *(_write(stage, f"{path}/signal", range(writer, total, WRITERS), refused) for writer in range(WRITERS))
    )
    seconds = steady() - begun
    await _send(stage, f"{path}/signal", "CLOSE", "close", refused)
    await stage.drain(120)
    await asyncio.wait(reading, timeout=60)
    await _cross(stage)
    await _judge(stage, execution_id, readers, reading, refused)
    await check_common(stage)
    verdict.counts |= {"signals": total, "connections": sum(reader.connections for reader in readers)}
    verdict.figures["signals_per_second"] = round(total / seconds, 1)


async def _cross(stage: Stage) -> None:
    """Signals that meet executions on their way to rest, sent by way of the other server."""
    workflow_id = await stage.store(resting(stage.sink, "signal"))
    seats = asyncio.Semaphore(8)
    missed: list[str] = []

    async def one(number: int) -> None:
        async with seats:
            here, there = stage.random.sample(stage.running(), 2)
            execution_id = await stage.start(workflow_id, f"crossing-{number}", url=here)
            await asyncio.sleep(stage.random.uniform(0.0, CROSSING_SECONDS))
            body, path = {"name": "go", "signal_id": "go"}, f"{APP}/executions/{execution_id}/signal"
            answer = await stage.client.insist([there], "POST", path, body)
            if answer.status != 200:
                missed.append(f"{execution_id}: {answer}")

    await asyncio.gather(*(one(number) for number in range(stage.scale.c3_crossings)))
    drain = await stage.drain()
    stage.verdict.expect_none("every crossing signal was accepted", missed)
    stage.verdict.injections["signals_that_cross_a_rest"] = stage.scale.c3_crossings
    stage.verdict.figures["drain_s"] = round(drain, 2)


async def _write(stage: Stage, path: str, numbers: range, refused: list[str]) -> None:
    for number in numbers:
        await asyncio.sleep(stage.random.uniform(0.0, 0.02))
        await _send(stage, path, "PUSH", f"push-{number}", refused)


async def _send(stage: Stage, path: str, name: str, signal_id: str, refused: list[str]) -> None:
    body = {"name": name, "signal_id": signal_id}
    answer = await stage.client.insist(stage.running, "POST", path, body)
    if answer.status != 200:
        refused.append(f"{signal_id}: {answer}")


async def _judge(
    stage: Stage, execution_id: str, readers: list[Reader], reading: list[asyncio.Task[None]], refused: list[str]
) -> None:
    verdict = stage.verdict
    count = await stage.observer.value(COUNT, UUID(execution_id))
    signals = await stage.observer.fetch(SIGNALS, UUID(execution_id))
    everything = list(range(1, count + 1))
    failed = [str(task.exception()) for task in reading if task.done() and task.exception() is not None]
    gaps = [f"reader {n}: {_first_gap(r.ids)}" for n, r in enumerate(readers) if r.ids != everything]
    different = [number for number in everything if len({reader.frames.get(number) for reader in readers}) > 1]
    verdict.injections |= {"writers": WRITERS, "readers": len(readers)}
    verdict.counts |= {"events": count, "gaps": len(gaps)}
    verdict.expect_none("every signal was accepted", refused)
    verdict.expect_none("every signal is in the log once", (row[0] for row in signals if row[1] != 1))
    verdict.expect("no signal is missing", len(signals) == stage.scale.c3_signals + 1, len(signals))
    verdict.expect("every reader came to the end", all(task.done() for task in reading))
    verdict.expect_none("no reader failed", failed)
    verdict.expect_none("every reader saw 1, 2, 3 … to the end", gaps)
    verdict.expect_none("every reader saw the same frames", different)
    verdict.prove("there was something to read", count >= 2 * stage.scale.c3_signals, count)
    visits = min(reader.connections for reader in readers[FOLLOWERS:])
    verdict.prove("pagers came back again and again", visits >= 3, visits)


def _first_gap(ids: list[int]) -> str:
    for place, number in enumerate(ids):
        if number != place + 1:
            return f"{ids[max(0, place - 2) : place + 3]} at place {place + 1} of {len(ids)}"
    return f"ends at {len(ids)}"
