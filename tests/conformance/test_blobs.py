"""Every blob store keeps content by its digest: whole, per tenant, once."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.backends.blobs.folder import FolderBlobs
from interlock.backends.blobs.layered import LARGE, LayeredBlobs
from interlock.backends.blobs.postgres import PostgresBlobs
from interlock.backends.egress.client import GuardedEgress
from interlock.core.errors import ErrorKind, InterlockError
from interlock.ports.blobs import Blobs, StoredBlob

ABSENT = hashlib.sha256(b"never stored").hexdigest()
CONTENTS = [b"", b"\0", b"x", os.urandom(1000), b"a" * 3_000_000, "é\n".encode()]
TENANTS = ["../../etc", "/", ".", "..", "", "a" * 5_000, "tenant\nß", "a/b"]


@pytest.fixture(scope="session")
async def engine(database) -> AsyncIterator[asyncpg.Pool[Any]]:
    async def become_engine(connection: Any) -> None:
        await connection.execute("set role interlock_engine")

    async with asyncpg.create_pool(database.serve_url, min_size=1, max_size=4, setup=become_engine) as pool:
        yield pool


@pytest.fixture(scope="session")
async def bucket(s3_server) -> AsyncIterator[Blobs]:
    egress = GuardedEgress(("loopback",))
    yield s3_server.blobs(egress, "conformance")
    await egress.close()


@pytest.fixture(scope="session", params=["folder", "postgres", "layered", "s3", "s3 layered"])
def blobs(request, engine, tmp_path_factory) -> Blobs:
    database = PostgresBlobs(engine.acquire)
    if request.param == "postgres":
        return database
    if request.param.startswith("s3"):
        bucket = request.getfixturevalue("bucket")
        return bucket if request.param == "s3" else LayeredBlobs(bucket, database)
    folder = FolderBlobs(tmp_path_factory.mktemp("blobs") / "deep" / "down")
    return folder if request.param == "folder" else LayeredBlobs(folder, database)


async def refusal(blobs: Any, tenant_id: str, sha256: str) -> ErrorKind:
    with pytest.raises(InterlockError) as refused:
        await blobs.get(tenant_id, sha256)
    return refused.value.kind


async def test_content_comes_back_under_its_digest(blobs, tenant):
    for content in CONTENTS:
        sha256 = await blobs.put(tenant.tenant_id, content)
        assert sha256 == hashlib.sha256(content).hexdigest()
        assert await blobs.get(tenant.tenant_id, sha256) == content


@settings(max_examples=40, deadline=None)
@given(content=st.binary(max_size=2_000))
async def test_any_bytes_come_back(blobs, content):
    assert await blobs.get("any", await blobs.put("any", content)) == content


async def test_the_same_content_twice_is_one_blob_even_at_once(blobs, tenant):
    digests = await asyncio.gather(*(blobs.put(tenant.tenant_id, b"same") for _ in range(20)))
    assert len(set(digests)) == 1
    assert await blobs.get(tenant.tenant_id, digests[0]) == b"same"


async def test_another_tenants_blob_is_not_there(blobs, tenant, new_tenant):
    sha256 = await blobs.put(tenant.tenant_id, b"secret")
    assert await refusal(blobs, new_tenant().tenant_id, sha256) is ErrorKind.NOT_FOUND


async def test_what_was_not_stored_is_not_found(blobs, tenant):
    await blobs.put(tenant.tenant_id, b"something")
    for sha256 in (ABSENT, ABSENT.upper(), "", "../" * 5 + "etc/passwd", ABSENT + "\0", ABSENT[:-1], "é" * 64):
        assert await refusal(blobs, tenant.tenant_id, sha256) is ErrorKind.NOT_FOUND


@pytest.mark.parametrize("name", TENANTS)
async def test_odd_tenants_are_tenants_like_others(blobs, name):
    sha256 = await blobs.put(name, name.encode())
    assert await blobs.get(name, sha256) == name.encode()
    assert await refusal(blobs, name + "x", sha256) is ErrorKind.NOT_FOUND


# Looking after them -----------------------------------------------------------------------------------------------

LONG_AGO, SOON = datetime(2020, 1, 1, tzinfo=UTC), timedelta(minutes=5)


async def listed(blobs: Any, digests: set[str]) -> dict[str, StoredBlob]:
    """Those of these digests that are listed."""
    return {blob.sha256: blob for blob in await all_listed(blobs) if blob.sha256 in digests}


async def all_listed(blobs: Any) -> list[StoredBlob]:
    """All there are, read in pages."""
    found, after = [], ""
    while page := await blobs.listed(after, 7):
        assert len(page) <= 7
        found += page
        after = page[-1].place
    places = [blob.place for blob in found]
    assert [place for place in places if places.count(place) > 1] == []
    return found


async def gone(blobs: Any, blob: StoredBlob, before: datetime) -> bool:
    """Drop a blob for good, also where it is set aside first."""
    known = {found.place for found in await all_listed(blobs)}
    if await blobs.drop(blob, before):
        return True
    aside = [found for found in await all_listed(blobs) if found.sha256 == blob.sha256 and found.place not in known]
    return len(aside) == 1 and bool(await blobs.drop(aside[0], before))


async def test_all_blobs_are_listed_page_by_page_with_their_age(blobs, tenant, new_tenant):
    contents = [os.urandom(100) for _ in range(10)] + [os.urandom(LARGE + 1) for _ in range(3)]
    owners = [tenant.tenant_id, new_tenant().tenant_id, "odd/ü"]
    digests = {await blobs.put(owners[n % 3], content) for n, content in enumerate(contents)}
    found = await listed(blobs, digests)
    assert found.keys() == digests
    assert all(abs(blob.stored_at - datetime.now(UTC)) < SOON for blob in found.values())


@pytest.mark.parametrize("size", [100, LARGE + 1])
async def test_an_old_blob_is_dropped_and_can_be_stored_again(blobs, tenant, size):
    content = os.urandom(size)
    sha256 = await blobs.put(tenant.tenant_id, content)
    blob = (await listed(blobs, {sha256}))[sha256]
    assert not await blobs.drop(blob, LONG_AGO)
    assert await blobs.get(tenant.tenant_id, sha256) == content
    assert await gone(blobs, blob, datetime.now(UTC) + SOON)
    assert await refusal(blobs, tenant.tenant_id, sha256) is ErrorKind.NOT_FOUND
    assert await listed(blobs, {sha256}) == {}
    assert not await blobs.drop(blob, datetime.now(UTC) + SOON)
    assert await blobs.put(tenant.tenant_id, content) == sha256
    assert await blobs.get(tenant.tenant_id, sha256) == content


async def test_one_tenants_blob_goes_and_anothers_stays(blobs, tenant, new_tenant):
    other = new_tenant().tenant_id
    sha256 = await blobs.put(tenant.tenant_id, b"both have it")
    blob = (await listed(blobs, {sha256}))[sha256]
    await blobs.put(other, b"both have it")
    assert await gone(blobs, blob, datetime.now(UTC) + SOON)
    assert await refusal(blobs, tenant.tenant_id, sha256) is ErrorKind.NOT_FOUND
    assert await blobs.get(other, sha256) == b"both have it"


async def test_what_is_kept_is_where_it_was(blobs, tenant):
    sha256 = await blobs.put(tenant.tenant_id, b"wanted")
    blob = (await listed(blobs, {sha256}))[sha256]
    await blobs.keep(blob)
    if not await blobs.drop(blob, datetime.now(UTC) + SOON):  # set aside: found all the same, and put back
        assert await blobs.get(tenant.tenant_id, sha256) == b"wanted"
        await blobs.keep((await listed(blobs, {sha256}))[sha256])
        assert await blobs.get(tenant.tenant_id, sha256) == b"wanted"
        assert (await listed(blobs, {sha256}))[sha256].place == blob.place


async def test_puts_and_drops_at_once_lose_nothing_that_was_put_last(blobs, tenant):
    """A put that has returned is never undone by a drop that knew only the time before it."""
    content = os.urandom(100)
    sha256 = await blobs.put(tenant.tenant_id, content)
    blob = (await listed(blobs, {sha256}))[sha256]
    for _ in range(5):
        before = blob.stored_at  # nothing is older than that, so that no drop may succeed
        await asyncio.gather(
            *(blobs.put(tenant.tenant_id, content) for _ in range(3)), *(blobs.drop(blob, before) for _ in range(3))
        )
        assert await blobs.get(tenant.tenant_id, sha256) == content


def test_each_store_says_whether_servers_share_it(engine, tmp_path):
    assert FolderBlobs(tmp_path).is_shared is False
    database, shared = PostgresBlobs(engine.acquire), FolderBlobs(tmp_path, is_shared=True)
    assert (database.is_shared, shared.is_shared) == (True, True)
    assert LayeredBlobs(shared, database).is_shared is True
    assert LayeredBlobs(FolderBlobs(tmp_path), database).is_shared is False


# Folder only ----------------------------------------------------------------------------------------------------


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


async def test_a_folder_keeps_its_blobs_private_and_inside(tmp_path):
    blobs = FolderBlobs(tmp_path / "blobs")
    for name in TENANTS:
        await blobs.put(name, b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["blobs"]
    assert len(files(tmp_path)) == len(TENANTS)
    for path in tmp_path.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


async def test_a_new_start_finds_old_blobs_and_clears_what_was_interrupted(tmp_path):
    sha256 = await FolderBlobs(tmp_path).put("t", b"kept")
    half = tmp_path / "unfinished" / "half"
    half.write_bytes(b"ke")
    again = FolderBlobs(tmp_path)
    assert not half.exists()
    assert await again.get("t", sha256) == b"kept"


async def test_a_new_start_leaves_alone_what_another_process_is_writing(tmp_path, monkeypatch):
    blobs = FolderBlobs(tmp_path)
    real = os.fsync

    def meanwhile(descriptor: int) -> None:
        FolderBlobs(tmp_path)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", meanwhile)
    sha256 = await blobs.put("t", b"content")
    assert await blobs.get("t", sha256) == b"content"


async def test_only_large_blobs_go_to_the_folder_and_old_ones_are_found_in_the_database(engine, tenant, tmp_path):
    database = PostgresBlobs(engine.acquire)
    old = await database.put(tenant.tenant_id, b"o" * (LARGE + 1))
    blobs = LayeredBlobs(FolderBlobs(tmp_path), database)
    small = await blobs.put(tenant.tenant_id, b"s" * LARGE)
    assert files(tmp_path) == []
    large = await blobs.put(tenant.tenant_id, b"l" * (LARGE + 1))
    assert [path.name for path in files(tmp_path)] == [large]
    assert await database.get(tenant.tenant_id, small) == b"s" * LARGE
    assert await blobs.get(tenant.tenant_id, old) == b"o" * (LARGE + 1)


async def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    blobs = FolderBlobs(tmp_path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InterlockError, match="No space left") as refused:
        await blobs.put("t", b"content")
    assert refused.value.kind is ErrorKind.UNAVAILABLE
    assert str(tmp_path) not in str(refused.value)
    assert files(tmp_path) == []


async def test_a_damaged_file_is_said_and_not_served(tmp_path):
    blobs = FolderBlobs(tmp_path)
    sha256 = await blobs.put("t", b"content")
    files(tmp_path)[0].write_bytes(b"contenT")
    assert await refusal(blobs, "t", sha256) is ErrorKind.INTERNAL


async def test_what_is_stored_again_in_a_folder_is_as_young_as_new(tmp_path):
    blobs = FolderBlobs(tmp_path)
    sha256 = await blobs.put("t", b"content")
    os.utime(files(tmp_path)[0], (0, 0))
    [blob] = await blobs.listed("", 10)
    assert blob.stored_at.year == 1970
    await blobs.put("t", b"content")
    assert not await blobs.drop(blob, LONG_AGO)
    assert await blobs.get("t", sha256) == b"content"


# Postgres only --------------------------------------------------------------------------------------------------


async def test_a_database_that_is_away_is_unavailable(tenant):
    @asynccontextmanager
    async def nobody() -> AsyncIterator[Any]:
        raise ConnectionRefusedError
        yield

    with pytest.raises(InterlockError) as refused:
        await PostgresBlobs(nobody).put(tenant.tenant_id, b"x")
    assert (refused.value.kind, refused.value.retryable) == (ErrorKind.UNAVAILABLE, True)


async def test_a_lost_connection_is_unavailable_and_the_next_one_works(database, engine, tenant):
    superuser = await asyncpg.connect(database.superuser_url)

    @asynccontextmanager
    async def shot() -> AsyncIterator[Any]:
        async with engine.acquire() as connection:
            await superuser.execute("select pg_terminate_backend($1, 5000)", connection.get_server_pid())
            yield connection

    with pytest.raises(InterlockError) as refused:
        await PostgresBlobs(shot).put(tenant.tenant_id, b"x")
    await superuser.close()
    assert refused.value.kind is ErrorKind.UNAVAILABLE
    assert await PostgresBlobs(engine.acquire).put(tenant.tenant_id, b"x")


@pytest.mark.parametrize("size", [100, 200_000])
async def test_what_is_stored_again_in_the_database_is_as_young_as_new(database, engine, tenant, size):
    blobs, content = PostgresBlobs(engine.acquire), os.urandom(size)
    sha256 = await blobs.put(tenant.tenant_id, content)
    superuser = await asyncpg.connect(database.superuser_url)
    await superuser.execute("update interlock.blobs set created_at = 'epoch' where sha256 = $1", sha256)
    blob = (await listed(blobs, {sha256}))[sha256]
    assert blob.stored_at.year == 1970
    await blobs.put(tenant.tenant_id, content)
    assert not await blobs.drop(blob, LONG_AGO)
    assert await blobs.get(tenant.tenant_id, sha256) == content
    await superuser.execute("update interlock.blobs set created_at = 'epoch' where sha256 = $1", sha256)
    assert await blobs.drop(blob, LONG_AGO)
    assert await superuser.fetchval("select count(*) from interlock.blob_parts where sha256 = $1", sha256) == 0
    await superuser.close()


async def test_a_large_blob_is_in_parts_and_one_of_before_there_were_any_is_read(database, engine, tenant):
    content = os.urandom(200_000)
    blobs = PostgresBlobs(engine.acquire)
    sha256 = await blobs.put(tenant.tenant_id, content)
    superuser = await asyncpg.connect(database.superuser_url)
    parts = await superuser.fetchval("delete from interlock.blob_parts where sha256 = $1 returning part", sha256)
    assert parts is not None
    await superuser.execute("update interlock.blobs set content = $2 where sha256 = $1", sha256, content)
    await superuser.close()
    assert await blobs.get(tenant.tenant_id, sha256) == content
