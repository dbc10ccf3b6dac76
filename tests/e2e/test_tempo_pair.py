"""Two server processes behind one tempo door: sessions, keys and counts are the same whichever answers."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pytest

from doors.tempo_house import Tempo
from interlock.kit.ids import RandomIds
from serving import Serving, stop_all
from tempo_races import Clients, Race, add_up, chain, check

LOCAL = {"INTERLOCK_LOCAL": "true"}
ECHO = {"flow_id": "echo_test_flow", "params": {"input": "x"}}


@pytest.fixture(scope="module")
def pair(database: Any) -> Iterator[tuple[Serving, Serving]]:
    """Two servers over one database, with the same keys."""
    with tempfile.TemporaryDirectory(prefix="interlock-tempo-") as folder:
        servers = [Serving(Path(folder), database.serve_url, **LOCAL) for _ in range(2)]
        try:
            yield servers[0].ready(), servers[1].ready()
        finally:
            stop_all(servers)


@pytest.fixture
async def callers(pair: tuple[Serving, Serving]) -> AsyncIterator[tuple[Tempo, Tempo]]:
    """One tenant at both servers."""
    tenant_id = f"t-{RandomIds().new().hex}"
    async with AsyncExitStack() as stack:
        clients = [
            httpx2.AsyncClient(base_url=server.url, headers={"X-Tenant-Id": tenant_id}, timeout=30) for server in pair
        ]
        for client in clients:
            await stack.enter_async_context(client)
        yield Tempo(clients[0], tenant_id), Tempo(clients[1], tenant_id)


async def test_of_many_clients_of_a_session_one_wins_each_state(callers: tuple[Tempo, Tempo]) -> None:
    one, other = callers
    await one.registered("chain", chain())
    races = [Race(await one.started({"flow_id": "chain"})) for _ in range(3)]
    clients = Clients([one.http, other.http], seed=1)
    until = time.monotonic() + 1.5
    await asyncio.gather(*(clients.run_on(race, client, until) for race in races for client in range(8)))
    for race in races:
        assert check(race, await other.events(race.session_id))["won"] > 0


async def test_no_write_of_a_key_is_lost(callers: tuple[Tempo, Tempo]) -> None:
    one, other = callers
    clients = Clients([one.http, other.http], seed=2)
    session_id = await one.started(ECHO)
    for path in ("/api/state/bank/account", f"/api/state/{session_id}/account"):
        await asyncio.gather(*(add_up(clients, path, 2) for _ in range(6)))
        assert (await other.get(path))["value"] == {"sum": 12, "list": list(range(12))}


async def test_starts_with_one_session_id_at_both_servers_at_once_are_one_session(
    callers: tuple[Tempo, Tempo],
) -> None:
    for number in range(5):
        told = {**ECHO, "session_id": f"order:{number}"}
        answers = await asyncio.gather(*(caller.post("/api/workflow/start", told) for caller in callers * 4))
        assert answers == answers[:1] * 8
        types = await callers[0].types(f"order:{number}")
        assert types == ["SESSION_START", "CMD_EXECUTE", "EVENT_RESULT", "STEP_DONE", "STATE_TRANSITION"]


async def test_of_different_requests_for_one_session_id_one_wins(callers: tuple[Tempo, Tempo]) -> None:
    for number in range(5):
        told = [{**ECHO, "params": {"input": who}, "session_id": f"mine:{number}"} for who in range(2)]
        answers = await asyncio.gather(
            *(caller.http.post("/api/workflow/start", json=body) for caller, body in zip(callers, told, strict=True))
        )
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        lost = next(answer.json() for answer in answers if answer.status_code == 409)
        assert lost["code"] == "CONFLICT"
        winner = next(who for who, answer in enumerate(answers) if answer.status_code == 200)
        assert (await callers[1].board(f"mine:{number}"))["_params"] == {"input": winner}


async def test_a_tenant_is_made_whatever_the_numbers_of_the_runners_are(
    pair: tuple[Serving, Serving], database: Any
) -> None:
    connection = await asyncpg.connect(database.superuser_url)
    try:
        await connection.execute("select pg_try_advisory_lock(7305, number) from generate_series(1, 200) number")
        tenant = {"X-Tenant-Id": f"t-{RandomIds().new().hex}"}
        async with httpx2.AsyncClient(base_url=pair[0].url, headers=tenant, timeout=30) as client:
            assert (await client.get("/api/registry/flows")).status_code == 200
    finally:
        await connection.close()


async def test_counts_of_nodes_are_those_of_all_servers_together(callers: tuple[Tempo, Tempo]) -> None:
    async def count(caller: Tempo) -> tuple[int, int]:
        told = await caller.get("/api/metrics")
        times = told.get("histogram_node_latency:transform", {"count": 0})
        return told["counters"].get("node_exec:transform", 0), times["count"]

    before = await count(callers[0])
    told = {"node_id": "transform", "params": {"template": "x"}}
    for caller in callers * 2:
        assert (await caller.post("/api/workflow/start", told))["state"] == "done", json.dumps(told)
    expected = (before[0] + 4, before[1] + 4)
    async with asyncio.timeout(15):
        for caller in callers:
            while await count(caller) != expected:
                await asyncio.sleep(0.1)
