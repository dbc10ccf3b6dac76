"""Many watchers of many sessions on one server process: nothing lost, in order, and soon.

    PYTHONPATH=src python tests/load/watchers.py --seconds 30

Every session makes ``--rate`` events a second, each of which ``--watchers`` sockets see. Prints one JSON object; times
are milliseconds from the moment an event was decided, its commit included, until a watcher has it. The exit code is 1
if a watcher missed an event or saw one out of order, or if 99 of 100 took longer than 500 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

sys.path.insert(0, str(Path(__file__).parent))

from stand import Stand, cpu_seconds, percentiles, resident_mb, stand
from wire_client import WireClient

TENANT = "watched"
PER_PRINCIPAL = 20
BOUND_MS = 500.0


class Session:
    """One session, turned so many times a second, and those who watch it."""

    def __init__(self, session_id: str, watchers: list[WireClient]) -> None:
        self.session_id = session_id
        self.watchers = watchers
        self.late = 0

    async def turn(self, http: aiohttp.ClientSession, url: str, turns: float, seconds: float, begin: float) -> None:
        """Push TURN so many times a second, and END when the time is over."""
        loop = asyncio.get_running_loop()
        for number in range(round(turns * seconds)):
            pause = begin + number / turns - loop.time()
            self.late += pause < -0.1
            await asyncio.sleep(max(0.0, pause))
            await self._push(http, url, "TURN")
        await self._push(http, url, "END")

    async def _push(self, http: aiohttp.ClientSession, url: str, name: str) -> None:
        body = {"event_type": name, "wait_ms": 0}
        async with http.post(f"{url}/api/workflow/{self.session_id}/event", json=body) as answer:
            assert answer.status == 200, await answer.text()
            await answer.read()


async def opened(
    found: Stand, http: aiohttp.ClientSession, flow: str, sessions: int, watchers: int, ages: list[float]
) -> list[Session]:
    """Start the sessions and let their watchers in; ``ages`` takes the delay of every event from then on."""
    server = found.servers[0]
    numbers = range(-(-sessions * watchers // PER_PRINCIPAL))
    tokens = [found.token(f"watcher-{number}", TENANT) for number in numbers]
    made = []
    for number in range(sessions):
        async with http.post(f"{server.url}/api/workflow/start", json={"flow_id": flow}) as answer:
            session_id = (await answer.json())["session_id"]
        url = f"{server.url.replace('http', 'ws', 1)}/ws/events/{session_id}"
        clients = [
            WireClient(url, tokens[(number * watchers + place) // PER_PRINCIPAL], lambda _, tick, age: ages.append(age))
            for place in range(watchers)
        ]
        await asyncio.gather(*(client.connect() for client in clients))
        made.append(Session(session_id, clients))
    await asyncio.sleep(1)
    ages.clear()
    return made


async def run(sessions: int, watchers: int, rate: float, seconds: float) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        found = await stand(stack, 1)
        flow = await found.flow(TENANT)
        server = found.servers[0]
        headers = {"authorization": f"Bearer {found.token('author', TENANT)}"}
        http = await stack.enter_async_context(
            aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=50))
        )
        ages: list[float] = []
        made = await opened(found, http, flow, sessions, watchers, ages)
        loop = asyncio.get_running_loop()
        spent, own, begin = cpu_seconds(server.process.pid), cpu_seconds(os.getpid()), loop.time()
        turns = rate / 2  # each makes two events
        begins = [begin + place / len(made) / turns for place in range(len(made))]  # one after the other
        pairs = zip(made, begins, strict=True)
        await asyncio.gather(*(session.turn(http, server.url, turns, seconds, at) for session, at in pairs))
        lasted = loop.time() - begin
        spent, own = cpu_seconds(server.process.pid) - spent, cpu_seconds(os.getpid()) - own
        clients = [client for session in made for client in session.watchers]
        async with asyncio.timeout(30):
            await asyncio.gather(*(client.is_over.wait() for client in clients))
        expected = {session.session_id: await _last(http, server.url, session.session_id) for session in made}
        whole = sum(
            client.ticks == list(range(1, expected[session.session_id] + 1)) and client.close_code == 1000
            for session in made
            for client in session.watchers
        )
        return {
            "sessions": sessions,
            "watchers": len(clients),
            "events": sum(expected.values()),
            "frames": sum(len(client.ticks) for client in clients),
            "seconds": round(lasted, 1),
            "frames_a_second": round(len(ages) / lasted),
            "watchers_that_saw_everything_in_order": whole,
            "closed_with": Counter(f"{client.close_code} {client.close_reason}"[:60] for client in clients),
            "server_said": server.logged()[-1_000:],
            "delay": percentiles(ages),
            "pushes_that_began_late": sum(session.late for session in made),
            "server_cpu_cores": round(spent / lasted, 2),
            "client_cpu_cores": round(own / lasted, 2),
            "server_mb": resident_mb(server.process.pid),
            "load_average": os.getloadavg(),
        }


async def _last(http: aiohttp.ClientSession, url: str, session_id: str) -> int:
    """How many events the session has, as the server lists them."""
    after = 0
    while True:
        async with http.get(f"{url}/api/workflow/{session_id}/events?limit=1000&after={after}") as answer:
            page = await answer.json()
        after = int(page["next_after"])
        if not page["has_more"]:
            return after


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=100)
    parser.add_argument("--watchers", type=int, default=10, help="of each session")
    parser.add_argument("--rate", type=float, default=10.0, help="events a second of each session")
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    uvloop.install()
    found = asyncio.run(run(options.sessions, options.watchers, options.rate, options.seconds))
    print(json.dumps(found, indent=2))
    lost = found["watchers_that_saw_everything_in_order"] < found["watchers"]
    return int(lost or found["delay"]["p99"] > BOUND_MS)


if __name__ == "__main__":
    sys.exit(main())
