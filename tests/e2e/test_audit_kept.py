"""Who changed something stands in the audit log, whatever happens to the process that answered."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pytest

from interlock.core.principal import Scope
from interlock.kit.ids import RandomIds
from serving import Serving

LOCAL = {"INTERLOCK_LOCAL": "true"}
ECHO = {"name": "Echo", "nodes": [{"id": "a", "type": "echo", "parameters": {"input": 1}}]}
WIDTH = 8


@pytest.fixture
def server(database: Any) -> Iterator[Serving]:
    with tempfile.TemporaryDirectory(prefix="interlock-audited-") as folder:
        serving = Serving(Path(folder), database.serve_url, **LOCAL).ready()
        yield serving
        serving.stop(signal.SIGKILL)


async def test_nothing_that_was_answered_is_missing_after_a_kill(server: Serving, database: Any) -> None:
    tenant_id = f"tenant-{RandomIds().new()}"
    answered: list[str] = []

    async def change(client: httpx2.AsyncClient) -> None:
        while True:
            told = RandomIds().new().hex
            try:
                answer = await client.post("/api/app/workflows", json=ECHO, headers={"x-trace-id": told})
            except httpx2.TransportError:
                return
            assert answer.status_code == 200, answer.text
            answered.append(told)
            if len(answered) == WIDTH * 10:
                server.process.kill()

    async with server.client(server.mint("ann", tenant_id, frozenset(Scope))) as client:
        await asyncio.gather(*(change(client) for _ in range(WIDTH)))
    assert len(answered) >= WIDTH * 10
    connection = await asyncpg.connect(database.superuser_url)
    kept = await connection.fetch(
        "select trace_id from interlock.audit where tenant_id = $1 and outcome = 'done'", tenant_id
    )
    await connection.close()
    assert set(answered) <= {row["trace_id"] for row in kept}
