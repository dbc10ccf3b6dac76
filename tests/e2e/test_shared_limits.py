"""Two real server processes over one database and one Valkey: they share the limits, and hold without it (B8, E4).

Every request makes a new connection, so that both processes get some.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from served import environment
from valkey_house import start_valkey

LIMIT = 60
STREAMS = 26
PATHS = (
    "/api/app/workflows",
    "/api/v1/app/workflows",
    "/api/app/workflows/",
    "/api/app/%77orkflows",
    "/api/app/workflows?limit=1",
    "/api/app/workflows/01a200d1-a110-7d1f-acf5-1ee0f56c9eda",
)
GRAPH = {"name": "one", "nodes": [{"id": "a", "type": "echo"}], "connections": []}
DEADLINE = 90.0


class Server:
    """Both processes as a client sees them."""

    def __init__(self, url: str, token: str, valkey: Any) -> None:
        self.url = url
        self.valkey = valkey
        self.headers = {"authorization": f"Bearer {token}"}

    async def ask(self, method: str, path: str, **options: Any) -> httpx2.Response:
        headers = {**self.headers, "connection": "close", **options.pop("headers", {})}
        async with httpx2.AsyncClient(timeout=20) as client:
            return await client.request(method, self.url + path, headers=headers, **options)

    async def burst(self, times: int, paths: tuple[str, ...] = PATHS) -> Counter[int]:
        """The statuses of so many requests, eight at a time, with forged headers and in every spelling."""
        turns = asyncio.Semaphore(8)

        async def one(number: int) -> int:
            async with turns:
                forged = {"x-forwarded-for": f"10.0.{number}.1", "x-real-ip": f"10.1.{number}.1"}
                return (await self.ask("GET", paths[number % len(paths)], headers=forged)).status_code

        return Counter(await asyncio.gather(*(one(number) for number in range(times))))

    async def streams(self, path: str, times: int) -> Counter[int]:
        """The statuses of so many streams that are open at the same time."""
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(httpx2.AsyncClient(timeout=20, headers=self.headers))
            opened = [await stack.enter_async_context(client.stream("GET", self.url + path)) for _ in range(times)]
            return Counter(answer.status_code for answer in opened)


@pytest.fixture
async def two_processes(tmp_path: Path, own_database: Any) -> AsyncIterator[Server]:
    """``serve --workers 2`` in local mode, with one number of the table set."""
    with ExitStack() as stack:
        valkey = start_valkey(stack)
        command = ["-m", "interlock", "serve", "--local", "--workers", "2", "--port", "0", "--json"]
        told = environment(
            INTERLOCK_DATABASE_URL=own_database.serve_url,
            INTERLOCK_DATABASE_POOL_SIZE="2",
            INTERLOCK_REDIS_URL=valkey.connection_url,
            INTERLOCK_RATE_LIMITS=json.dumps({"app:/workflows*": f"{LIMIT}/hour"}),
        )
        errors = stack.enter_context((tmp_path / "errors").open("w"))
        process = subprocess.Popen(
            [sys.executable, *command, "--data", str(tmp_path / "keys")],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=told,
        )
        try:
            assert process.stdout is not None
            said = await asyncio.to_thread(process.stdout.readline)
            assert said, (tmp_path / "errors").read_text()[-2000:]
            ready = json.loads(said)
            yield Server(ready["ready"], ready["token"], valkey)
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait, DEADLINE)
            assert process.stdout is not None
            process.stdout.close()


async def test_a_limit_holds_over_processes_and_without_redis_by_shares(two_processes: Server) -> None:
    server = two_processes
    stored = await server.ask("POST", "/api/app/workflows", json=GRAPH)
    workflow_id = stored.json()["workflow_id"]
    assert (await server.ask("GET", "/health")).json()["redis"] == "connected"
    statuses = await server.streams(f"/api/app/workflows/{workflow_id}/stream", STREAMS)
    assert statuses == {200: 20, 429: STREAMS - 20}, "the processes share the seats of a principal"
    statuses = await server.burst(150)
    # A stream that got no seat was asked for all the same.
    assert statuses[429] == 150 - (LIMIT - STREAMS - 1), "forged headers, spellings, another process change nothing"

    server.valkey.terminate()
    statuses = await server.burst(100)
    assert 100 - statuses[429] <= LIMIT * 0.2, "at most a fifth more passes without Redis"
    found = (await server.ask("GET", "/health")).json()
    assert (found["status"], found["health"], found["redis"]) == ("ok", "degraded", "unavailable")

    started = await server.ask("POST", f"/api/app/workflows/{workflow_id}/execute", json={"wait_ms": 5000})
    assert started.status_code == 200, "work goes on"
    execution_id = started.json()["execution_id"]
    async with asyncio.timeout(20):
        while True:
            shown = (await server.ask("GET", f"/api/app/executions/{execution_id}")).json()
            if shown["status"].lower() in ("success", "completed", "succeeded"):
                return
            await asyncio.sleep(0.1)
