"""Kills servers by a seeded schedule and remembers what each of them was doing."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from crash.clock import steady
from crash.database import Observer
from crash.process import ProcessError
from crash.server import Server
from crash.stage import Stage

FIRST_EVENTS = """
select execution_id, min(at) from interlock.events
where execution_id = any ($1::uuid[]) and at > $2 group by execution_id"""


@dataclass(frozen=True)
class Kill:
    """A process that is gone. ``at`` is wall seconds; ``owned`` what it held, by the last event's number."""

    server: str
    at: float
    owned: dict[UUID, int]


class Nemesis:
    """``kill -9`` of a random running server every 5 to 9 s; it starts again after 0 to 3 s."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._restarts: set[asyncio.Task[None]] = set()
        self._deaths: Counter[str] = Counter()
        self.kills: list[Kill] = []

    async def rage(self, seconds: float) -> None:
        """Kill for so long, then wait until all servers serve again.

        While not most of the kills hit work, as when a server has only just started, it goes on, for twice the time at
        most.
        """
        random, begun = self._stage.random, steady()
        while True:
            until = begun + (seconds if self._mostly_hit_work() else 2 * seconds)
            pause = random.uniform(5.0, 9.0)
            if steady() + pause > until:
                await asyncio.sleep(max(0.0, until - steady()))
                break
            await asyncio.sleep(pause)
            victims = [server for server in self._stage.servers if server.process.is_running]
            if victims:
                await self.kill(random.choice(victims), random.uniform(0.0, 3.0))
        await self.settled()

    def _mostly_hit_work(self) -> bool:
        return 2 * sum(bool(kill.owned) for kill in self.kills) > len(self.kills)

    async def settled(self) -> None:
        """Wait until every killed server serves again."""
        await asyncio.gather(*self._restarts)

    async def kill(self, server: Server, restart_after: float) -> Kill:
        """Kill one server now."""
        self._deaths[server.name] += 1
        at = await server.kill()
        owned = await self._stage.observer.owned_by(await server.runner_ids(self._stage.observer))
        kill = Kill(server.name, at, owned)
        self.kills.append(kill)
        task = asyncio.create_task(self._restart(server, restart_after))
        self._restarts.add(task)
        task.add_done_callback(self._restarts.discard)
        return kill

    async def _restart(self, server: Server, after: float) -> None:
        await asyncio.sleep(after)
        deaths = self._deaths[server.name]
        try:
            await server.launch()
        except ProcessError:
            if self._deaths[server.name] == deaths:
                raise  # if it was killed before it could serve, its next restart is under way


async def recovery_times(observer: Observer, kills: list[Kill]) -> list[float]:
    """For each kill that left work behind: seconds until the last of it had a new event."""
    times = []
    for kill in kills:
        at = datetime.fromtimestamp(kill.at, UTC)
        rows = await observer.fetch(FIRST_EVENTS, list(kill.owned), at)
        if rows:
            times.append(max(row[1].timestamp() for row in rows) - kill.at)
    return times
