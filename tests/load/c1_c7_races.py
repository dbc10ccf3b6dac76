"""C1 and C7: clients race for the states of sessions and for keys of blackboards, while servers are killed.

    PYTHONPATH=src python tests/load/c1_c7_races.py --sessions 200 --clients 8 --seconds 60 --kills 3

Two processes of ``interlock serve`` over a Postgres of their own. Prints one JSON object; the exit code is 1 if
anything that was seen has no explanation: two winners of a state, a gap in a log, an answer out of order, a lost write.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2

sys.path.insert(0, str(Path(__file__).parents[1]))

from interlock.backends.store.embedded import EmbeddedPostgres
from interlock.backends.store.embedded.roles import SERVER
from interlock.backends.store.postgres.migrate import migrate
from serving import Serving
from tempo_races import Clients, Race, add_up, chain, check

TENANT = {"X-Tenant-Id": "races"}

POOLS = 25
"""For each server: a pool looks at all of its connections for each request, which takes seconds with a thousand."""


class Pair:
    """Two servers; each can be killed and comes back at the same port."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self._folder = folder
        self._database_url = database_url
        self.servers = [self._serve("0"), self._serve("0")]

    def _serve(self, port: str) -> Serving:
        return Serving(self._folder, self._database_url, "--port", port, INTERLOCK_LOCAL="true").ready()

    async def kill(self, number: int) -> None:
        """End one as a power cut does, and start it again."""
        server = self.servers[number % 2]
        port = str(server.port)
        await asyncio.to_thread(server.stop, signal.SIGKILL)
        self.servers[number % 2] = await asyncio.to_thread(self._serve, port)

    def stop(self) -> None:
        for server in self.servers:
            server.stop()


async def kill_now_and_then(pair: Pair, kills: int, seconds: float) -> None:
    for number in range(kills):
        await asyncio.sleep(seconds / (kills + 1))
        await pair.kill(number)


async def race(pair: Pair, clients: Clients, options: argparse.Namespace) -> dict[str, Any]:
    """C1: who wins which state."""
    text = {"flow_id": "chain", "name": "chain", "yaml_content": chain()}
    assert (await clients.ask("POST", "/api/registry/flows", text)).status_code == 200
    races = []
    for _ in range(options.sessions):
        started = await clients.ask("POST", "/api/workflow/start", {"flow_id": "chain"})
        races.append(Race(started.json()["session_id"]))
    until = time.monotonic() + options.seconds
    killing = asyncio.create_task(kill_now_and_then(pair, options.kills, options.seconds))
    await asyncio.gather(*(clients.run_on(one, client, until) for one in races for client in range(options.clients)))
    await killing
    counts: Counter[str] = Counter()
    violations = []
    for one in races:
        told = await clients.ask("GET", f"/api/workflow/{one.session_id}/events?limit=1000")
        try:
            counts += check(one, told.json()["events"])
        except AssertionError as error:
            violations.append(f"{one.session_id}: {error}")
    return {
        "operations": counts.total(),
        **counts,
        "kills": options.kills,
        "violations": violations,
        "repeated": clients.repeated,
    }


async def bank(clients: Clients, options: argparse.Namespace) -> dict[str, Any]:
    """C7: compare-and-set on one key of a session and on one of a scratch blackboard."""
    started = await clients.ask("POST", "/api/workflow/start", {"flow_id": "echo_test_flow"})
    found: dict[str, Any] = {}
    for name, board in (("scratch", "bank"), ("session", started.json()["session_id"])):
        path = f"/api/state/{board}/account"
        begun = time.monotonic()
        refused = await asyncio.gather(*(add_up(clients, path, options.writes) for _ in range(options.writers)))
        value = (await clients.ask("GET", path)).json()["value"]
        expected = options.writers * options.writes
        found[name] = {
            "writes": expected,
            "lost": expected - len(set(value["list"])),
            "sum": value["sum"],
            "refused": sum(refused),
            "seconds": round(time.monotonic() - begun, 1),
        }
    return found


async def run(options: argparse.Namespace) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="interlock-races-")))
        postgres = EmbeddedPostgres(folder / "postgres", None, folder / "shared")
        urls = await postgres.start()
        stack.push_async_callback(postgres.stop)
        await migrate(urls.migrate_url, SERVER)
        (folder / "keys").mkdir()
        pair = Pair(folder / "keys", urls.serve_url)
        stack.callback(pair.stop)
        connections = [
            await stack.enter_async_context(
                httpx2.AsyncClient(
                    base_url=server.url, headers=TENANT, timeout=30, limits=httpx2.Limits(max_connections=None)
                )
            )
            for server in pair.servers
            for _ in range(POOLS)
        ]
        clients = Clients(connections, options.seed)
        return {"C7": await bank(clients, options), "C1": await race(pair, clients, options)}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--writers", type=int, default=50)
    parser.add_argument("--writes", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    found = asyncio.run(run(parser.parse_args()))
    print(json.dumps(found, indent=2))
    is_good = not found["C1"]["violations"] and all(one["sum"] == one["writes"] for one in found["C7"].values())
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
