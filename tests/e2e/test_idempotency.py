"""The same request again has the same answer: at once, elsewhere, by others, and after a crash in between."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx2
import pytest

from serving import Serving, stop_all

COPIES = 50
KEYS = 6
ECHO = {"name": "Echo", "nodes": [{"id": "a", "type": "echo", "parameters": {"input": "{{ $input.n }}"}}]}
LOCAL = {"INTERLOCK_LOCAL": "true"}


@pytest.fixture(scope="module")
def pair(database: Any) -> Iterator[tuple[Serving, Serving]]:
    """Two servers over one database, with the same keys."""
    with tempfile.TemporaryDirectory(prefix="interlock-pair-") as folder:
        servers = [Serving(Path(folder), database.serve_url, **LOCAL) for _ in range(2)]
        try:
            yield servers[0].ready(), servers[1].ready()
        finally:
            stop_all(servers)


async def store(client: httpx2.AsyncClient, **headers: str) -> str:
    answer = await client.post("/api/app/workflows", json=ECHO, headers=headers)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["workflow_id"])


async def execute(client: httpx2.AsyncClient, workflow: str, key: str, n: int = 1) -> httpx2.Response:
    return await client.post(
        f"/api/app/workflows/{workflow}/execute", json={"inputs": {"n": n}}, headers={"idempotency-key": key}
    )


async def started(database: Any, workflow: str) -> int:
    """How many executions there are of a workflow, by the database."""
    connection = await asyncpg.connect(database.superuser_url)
    try:
        sql = "select count(*) from interlock.executions where workflow_id = $1"
        return int(await connection.fetchval(sql, workflow))
    finally:
        await connection.close()


async def test_fifty_copies_at_once_over_two_servers_start_one_execution(pair: Any, database: Any) -> None:
    token = pair[0].mint("somebody", f"tenant-{uuid4()}")
    async with pair[0].client(token) as one, pair[1].client(token) as other:
        workflow = await store(one)
        seen: Counter[int] = Counter()
        for number in range(KEYS):
            copies = [execute((one, other)[copy % 2], workflow, f"key-{number}") for copy in range(COPIES)]
            answers = await asyncio.gather(*copies)
            seen.update(answer.status_code for answer in answers)
            good = [answer for answer in answers if answer.status_code == 200]
            assert len({answer.json()["execution_id"] for answer in good}) == 1
            assert sum("idempotency-replayed" not in answer.headers for answer in good) == 1
            assert {a.json()["error_code"] for a in answers if a.status_code == 409} <= {"IDEMPOTENCY_IN_PROGRESS"}
            again = await execute(other, workflow, f"key-{number}")
            assert again.json()["execution_id"] == good[0].json()["execution_id"]
            assert again.headers["idempotency-replayed"] == "true"
        assert set(seen) <= {200, 409}
        assert await started(database, workflow) == KEYS


async def test_workflows_are_stored_once_too(pair: Any) -> None:
    token = pair[0].mint("somebody", f"tenant-{uuid4()}")
    async with pair[0].client(token) as one, pair[1].client(token) as other:
        key = {"idempotency-key": "the-same"}
        copies = [(one, other)[copy % 2].post("/api/app/workflows", json=ECHO, headers=key) for copy in range(20)]
        answers = await asyncio.gather(*copies)
        assert {answer.status_code for answer in answers} <= {200, 409}
        assert len({answer.json()["workflow_id"] for answer in answers if answer.status_code == 200}) == 1
        listed = (await one.get("/api/app/workflows")).json()
        assert len(listed["workflows"]) == 1


async def test_another_body_with_the_same_key_is_refused(pair: Any, database: Any) -> None:
    token = pair[0].mint("somebody", f"tenant-{uuid4()}")
    async with pair[0].client(token) as one, pair[1].client(token) as other:
        workflow = await store(one)
        assert (await execute(one, workflow, "k")).status_code == 200
        refused = await execute(other, workflow, "k", n=2)
        assert (refused.status_code, refused.json()["error_code"]) == (422, "IDEMPOTENCY_MISMATCH")
        assert await started(database, workflow) == 1


async def test_another_user_tenant_or_route_has_keys_of_its_own(pair: Any, database: Any) -> None:
    tenant = f"tenant-{uuid4()}"
    callers = [("one", tenant), ("another", tenant), ("one", f"tenant-{uuid4()}")]
    ids = set()
    for subject, of in callers:
        async with pair[0].client(pair[0].mint(subject, of)) as client:
            workflow = await store(client, **{"idempotency-key": "k"})
            ids.add(workflow)
            answer = await execute(client, workflow, "k")
            assert answer.status_code == 200, answer.text
            assert "idempotency-replayed" not in answer.headers
            ids.add(answer.json()["execution_id"])
    assert len(ids) == 6, "a key is independent for each user, tenant and route"


@pytest.mark.parametrize("key", ["", "x" * 256, "é".encode().decode("latin-1"), "a\x01b"])
async def test_a_key_that_cannot_be_one_is_refused(pair: Any, key: str) -> None:
    async with pair[0].client() as client:
        headers = httpx2.Headers({"idempotency-key": key}, encoding="latin-1")
        answer = await client.post("/api/app/workflows", json=ECHO, headers=headers)
        assert answer.status_code == 400


@pytest.mark.parametrize("point", ["starting.before_commit", "starting.after_commit"])
async def test_a_crash_before_the_answer_leaves_one_execution_and_its_answer(
    pair: Any, database: Any, point: str
) -> None:
    victim = Serving(pair[0].data_dir, database.serve_url, **LOCAL, INTERLOCK_FAILPOINTS=f"{point}=exit@1").ready()
    try:
        token = pair[0].mint("somebody", f"tenant-{uuid4()}")
        async with victim.client(token) as dying, pair[0].client(token) as living:
            workflow = await store(living)
            with pytest.raises(httpx2.TransportError):
                await execute(dying, workflow, "k")
            assert victim.process.wait(30) == 86
            assert f"failpoint {point}=exit" in victim.logged()
            again = await execute(living, workflow, "k")
            assert again.status_code == 200
            has_committed = point == "starting.after_commit"
            assert ("idempotency-replayed" in again.headers) is has_committed
            assert (await execute(living, workflow, "k")).json()["execution_id"] == again.json()["execution_id"]
            assert await started(database, workflow) == 1
    finally:
        victim.stop()
