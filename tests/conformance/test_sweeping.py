"""What nothing refers to goes after a time, and nothing that is referred to ever does."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from interlock.backends.blobs.folder import FolderBlobs
from interlock.backends.blobs.layered import LARGE, LayeredBlobs
from interlock.backends.blobs.postgres import PostgresBlobs
from interlock.backends.egress.client import GuardedEgress
from interlock.backends.secrets.aes_gcm import AesGcmSecrets
from interlock.backends.secrets.given_keys import GivenKeys
from interlock.backends.store.postgres.code_shelf import PostgresCodeShelf
from interlock.backends.store.postgres.connection import EnginePool
from interlock.backends.store.postgres.references import PostgresReferences
from interlock.core.errors import InterlockError
from interlock.kit.clock import SystemClock
from interlock.runtime import sweeping
from interlock.runtime.sweeping import BLOB_AGE, CODE_AGE, Sweeping
from s3_house import S3Server

TENANTS = ("a", "b")
REFERRERS = ("none", "event", "input", "output", "inbox", "artifact")
EVENT = "insert into interlock.events (execution_id, seq, tenant_id, type, data, refs, at, trace_id, format) \
values ($1, 1, $2, 't', '{}', $3, now(), 't', 1)"
EXECUTION = (
    "insert into interlock.executions (execution_id, tenant_id, user_id, visibility, version_id, workflow_number, \
kind, status, input, input_refs, output_refs, mode, started_by, root_id, trace_id, created_at, updated_at) \
values ($1, $2, 'u', 'tenant', $1, 1, 'graph', 'succeeded', $3, $4, $5, 'm', 'u', $1, 't', now(), now())"
)
INBOX = "insert into interlock.inbox (execution_id, inbox_seq, tenant_id, kind, payload, trace_id) \
values ($1, 1, $2, 'child_ended', $3, 't')"
ARTIFACT = "insert into interlock.artifacts (execution_id, name, tenant_id, task_id, sha256, size, content_type) \
values ($1, 'n', $2, 't', $3, 1, 'x')"


class LaterClock(SystemClock):
    """Ahead of the time at which things are stored."""

    ahead = timedelta(0)

    def now(self) -> Any:
        return super().now() + self.ahead


@pytest.fixture
async def superuser(own_database: Any) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(own_database.superuser_url)
    yield connection
    await connection.close()


@pytest.fixture
async def pool(own_database: Any) -> AsyncIterator[EnginePool]:
    opened = EnginePool(own_database.serve_url, 2)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def egress() -> AsyncIterator[GuardedEgress]:
    made = GuardedEgress(("loopback",))
    yield made
    await made.close()


@pytest.fixture(params=["database", "folder", "s3"])
def blobs(request: Any, pool: EnginePool, egress: GuardedEgress, s3_server: S3Server, tmp_path: Path) -> Any:
    database = PostgresBlobs(pool.use)
    if request.param == "database":
        return database
    if request.param == "folder":
        return LayeredBlobs(FolderBlobs(tmp_path), database)
    return LayeredBlobs(s3_server.blobs(egress, f"sweeping-{uuid4().hex}"), database, is_far=True)


async def refer(superuser: Any, how: str, tenant_id: str, sha256: str) -> None:
    """Write a row that refers to a blob."""
    place, refs = uuid4(), json.dumps({"output/rows": "0" * 64, "output/more": sha256})
    if how == "event":
        await superuser.execute(EVENT, place, tenant_id, refs)
    elif how in ("input", "output"):
        told = (refs, None) if how == "input" else (None, refs)
        await superuser.execute(EXECUTION, place, tenant_id, None, *told)
    elif how == "inbox":
        await superuser.execute(INBOX, place, tenant_id, json.dumps({"refs": json.loads(refs)}))
    elif how == "artifact":
        await superuser.execute(ARTIFACT, place, tenant_id, sha256)


async def is_there(blobs: Any, tenant_id: str, sha256: str) -> bool:
    try:
        await blobs.get(tenant_id, sha256)
    except InterlockError as error:
        if error.code != "BLOB_NOT_FOUND":
            raise
        return False
    return True


async def test_no_blob_goes_that_is_referred_to_and_all_others_do(
    blobs: Any, superuser: Any, pool: EnginePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every kind of reference, in any tenant, for small and large values, over several pages and rounds."""
    monkeypatch.setattr(sweeping, "PAGE", 3)
    monkeypatch.setattr(sweeping, "PAGES", 4)  # so that a round does not see all of them
    stored: dict[tuple[str, str], str] = {}
    for number, how in enumerate(REFERRERS * 2):
        content = os.urandom(LARGE + 1 if number % 2 else 50)
        sha256 = await blobs.put(TENANTS[0], content)
        stored[TENANTS[0], sha256] = how
        await refer(superuser, how, TENANTS[number % 2], sha256)  # whoever refers to it: the digest is looked at alone
    clock = LaterClock()
    sweep = Sweeping(blobs, PostgresReferences(pool.use), clock)
    for ahead in (BLOB_AGE - timedelta(hours=1), *([BLOB_AGE + timedelta(hours=1)] * 12)):
        clock.ahead = ahead
        removed = await sweep.sweep_blobs()
        assert ahead > BLOB_AGE or removed == 0
        for (tenant_id, sha256), how in stored.items():
            if how != "none" or ahead < BLOB_AGE:
                assert await is_there(blobs, tenant_id, sha256), how
    for (tenant_id, sha256), how in stored.items():
        assert await is_there(blobs, tenant_id, sha256) is (how != "none"), how


async def test_what_is_wanted_again_while_it_is_set_aside_is_put_back(
    pool: EnginePool, superuser: Any, egress: GuardedEgress, s3_server: S3Server
) -> None:
    """The race that a bucket cannot exclude: a blob is stored again just when it goes, then its event is committed."""
    blobs = s3_server.blobs(egress, f"race-{uuid4().hex}")
    sha256 = await blobs.put("a", b"content")
    clock = LaterClock()
    clock.ahead = BLOB_AGE + timedelta(hours=1)
    sweep = Sweeping(blobs, PostgresReferences(pool.use), clock)
    [blob] = await blobs.listed("", 10)
    assert not await blobs.drop(blob, clock.now())
    await refer(superuser, "event", "a", sha256)
    assert await blobs.get("a", sha256) == b"content"
    assert await sweep.sweep_blobs() == 0
    assert await blobs.get("a", sha256) == b"content"
    assert [found.place for found in await blobs.listed("", 10)] == [blob.place]


# Code -----------------------------------------------------------------------------------------------------------

VERSION = "insert into interlock.versions (version_id, workflow_id, tenant_id, number, digest, definition, source, \
created_by) values ($1, $2, 'a', 1, 'd', $3, '{}', 'u')"
WORKFLOW = "insert into interlock.workflows (workflow_id, tenant_id, user_id, visibility, kind, name, version_id, \
number, source) values ($1, 'a', 'u', 'tenant', 'graph', 'n', $2, 1, '{}')"


async def name_code(superuser: Any, how: str, digest: str) -> None:
    """Have something name a piece of code."""
    place: UUID = uuid4()
    if how == "version":
        await superuser.execute(WORKFLOW, place, uuid4())
        await superuser.execute(VERSION, uuid4(), place, json.dumps({"nodes": [{"parameters": {"args": digest}}]}))
    elif how == "draft":
        await superuser.execute(
            "insert into interlock.drafts (tenant_id, draft_id, made_by) values ('a', $1, 'u')", place
        )
        await superuser.execute(
            "insert into interlock.draft_tasks (tenant_id, draft_id, task_id, number, kind, name, content) "
            "values ('a', $1, 't', 1, 'code', 'n', $2)",
            place,
            json.dumps({"code": digest}),
        )
    elif how in ("unfinished", "ended"):
        told = {"args": "0" * 64, "kwargs": digest} if how == "ended" else {"other": digest, "more": "x" * 3_000}
        await superuser.execute(EXECUTION, place, "a", json.dumps(told), None, None)
        if how == "unfinished":
            await superuser.execute(
                "insert into interlock.live (execution_id, tenant_id, format) values ($1, 'a', 1)", place
            )


async def test_code_goes_that_no_draft_no_version_and_no_execution_names(
    superuser: Any, pool: EnginePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "PAGE", 2)
    shelf = PostgresCodeShelf(pool.use, AesGcmSecrets(GivenKeys(["the key of these tests, which is long enough"])))
    digests = {}
    for how in ("version", "draft", "unfinished", "ended", "none", "young", "other"):
        digests[how] = await shelf.put("a", "ann", "source", how.encode())
        await name_code(superuser, how, digests[how])
    sweep = Sweeping(PostgresBlobs(pool.use), PostgresReferences(pool.use), SystemClock())
    assert await sweep.sweep_code() == 0
    await superuser.execute("update interlock.code set created_at = now() - $1::interval", CODE_AGE)
    await shelf.put("a", "ann", "source", b"young")
    assert [await sweep.sweep_code() for _ in range(2)] == [2, 0]
    left = {row["digest"] for row in await superuser.fetch("select digest from interlock.code")}
    assert left == {digests[how] for how in ("version", "draft", "unfinished", "ended", "young")}
