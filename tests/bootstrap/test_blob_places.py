"""Where a server keeps large values, by its settings; and what is said where it cannot."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from interlock.backends.blobs.layered import LARGE
from interlock.backends.store.postgres.connection import EnginePool
from interlock.bootstrap.blobs import open_blobs, try_blobs
from interlock.bootstrap.doctor import examine_blobs
from interlock.config import Settings
from interlock.kit.clock import SystemClock
from s3_house import KEYS, S3Server

CONTENT = b"l" * (LARGE + 1)


@pytest.fixture(scope="module")
async def pool(database: Any) -> AsyncIterator[EnginePool]:
    opened = EnginePool(database.serve_url, 1)
    await opened.open()
    yield opened
    await opened.close()


def settings(**given: Any) -> Settings:
    return Settings(_env_file=None, **given)


def bucket(server: S3Server, secret: str = KEYS.secret, **more: Any) -> Settings:
    url = server.url("places")
    return settings(blobs_url=url, blobs_access_key_id=KEYS.key_id, blobs_secret_access_key=secret, **more)


async def test_a_bucket_takes_large_values_and_the_database_small_ones(
    pool: EnginePool, tenant: Any, s3_server: S3Server, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        before = await open_blobs(settings(data_dir=tmp_path), pool.use, SystemClock(), stack, embedded=False).put(
            tenant.tenant_id, CONTENT + b"o"
        )
        blobs = open_blobs(bucket(s3_server), pool.use, SystemClock(), stack, embedded=False)
        large, small = await blobs.put(tenant.tenant_id, CONTENT), await blobs.put(tenant.tenant_id, b"small")
        for sha256, content in ((large, CONTENT), (small, b"small"), (before, CONTENT + b"o")):
            assert await blobs.get(tenant.tenant_id, sha256) == content
        assert [path.name for path in s3_server.objects() if "places" in path.parts] == [large]
        assert (blobs.kind, blobs.is_shared) == ("s3", True)


@pytest.mark.parametrize(
    ("given", "embedded", "kind", "is_shared"),
    [
        ({}, False, "database", True),
        ({}, True, "folder", False),
        ({"blobs_dir": "here"}, False, "folder", False),
        ({"blobs_dir": "here", "blobs_dir_is_shared": True}, False, "folder", True),
    ],
)
async def test_without_one_it_is_a_folder_or_the_database(
    pool: EnginePool, tmp_path: Path, given: Any, embedded: bool, kind: str, is_shared: bool
) -> None:
    placed = {name: tmp_path / value if name == "blobs_dir" else value for name, value in given.items()}
    async with AsyncExitStack() as stack:
        told = settings(data_dir=tmp_path, **placed)
        blobs = open_blobs(told, pool.use, SystemClock(), stack, embedded=embedded)
        await blobs.check()
        assert (blobs.kind, blobs.is_shared) == (kind, is_shared)


async def test_a_bucket_that_cannot_be_used_is_said_and_the_start_goes_on(
    pool: EnginePool, s3_server: S3Server
) -> None:
    async with AsyncExitStack() as stack:
        blobs = open_blobs(bucket(s3_server, "wrong"), pool.use, SystemClock(), stack, embedded=False)
        with capture_logs() as logged:
            await try_blobs(blobs, stack)
        assert [(line["event"], line["store"], line["code"]) for line in logged] == [
            ("blobs.unavailable", "s3", "BLOB_STORE_REFUSED")
        ]


@pytest.mark.parametrize(("secret", "is_ok", "found"), [(KEYS.secret, True, "s3"), ("wrong", False, "SignatureDoes")])
async def test_doctor_tries_the_bucket(
    database: Any, s3_server: S3Server, secret: str, is_ok: bool, found: str
) -> None:
    told = bucket(s3_server, secret, database_url=database.serve_url)
    check = await examine_blobs(database.serve_url, told)
    assert check.is_ok is is_ok
    assert found in check.found
    assert secret not in check.found


async def test_doctor_says_that_a_folder_is_not_shared(database: Any, tmp_path: Path) -> None:
    check = await examine_blobs(database.serve_url, settings(database_url=database.serve_url, blobs_dir=tmp_path))
    assert not check.is_ok
    assert "INTERLOCK_BLOBS_URL" in check.remedy
