"""Where the embedded Postgres lives and whose rights it has: for root, for others, and where a way is closed."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.backends.store.embedded import EmbeddedPostgres, masked_url
from interlock.backends.store.embedded.binaries import copied_for_everyone, find_binaries
from interlock.backends.store.embedded.rights import Rights
from interlock.backends.store.embedded.sockets import make_socket_dir
from interlock.backends.store.embedded.urls import socket_url
from interlock.core.errors import InterlockError

HOLDER = Path(__file__).with_name("hold_embedded_postgres.py")
IS_ROOT = os.geteuid() == 0
NOBODY = 65534
STRANGER = 54321  # a user that neither root in a namespace nor nobody is


def hold(data_dir: Path, bindir: Path, uid: str) -> subprocess.Popen[str]:
    """A process that starts the server of ``data_dir`` as another user, and stops it when its stdin ends."""
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, HOLDER, data_dir, bindir, uid], stdin=pipe, stdout=pipe, text=True)


def embedded(data_dir: Path, bindir: Path | None = None) -> EmbeddedPostgres:
    """A server that leaves nothing outside the parent of its data directory."""
    return EmbeddedPostgres(data_dir, bindir, data_dir.parent / "shared")


async def answers(url: str) -> bool:
    """Whether the database can be asked."""
    connection = await asyncpg.connect(url)
    try:
        return bool(await connection.fetchval("select true"))
    finally:
        await connection.close()


@pytest.fixture(scope="module")
def public_dir() -> Iterator[Path]:
    """A temporary directory that every user can reach, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="interlock-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@given(password=st.text(min_size=1))
def test_a_url_carries_any_password_and_its_mask_none(password: str) -> None:
    url = socket_url("interlock_server", password, Path("/private"), "interlock")
    assert unquote(urlsplit(url).password or "") == password
    assert masked_url(url) == socket_url("interlock_server", "-", Path("/private"), "interlock").replace(":-@", ":***@")


@dataclass(frozen=True)
class Ordinary:
    """What an ordinary user's server said, started in a directory with a very long name."""

    uid: int
    data_dir: Path
    said: dict[str, Any]
    socket_mode: int
    owner: int


@pytest.fixture(scope="module")
def ordinary(public_dir: Path) -> Ordinary:
    """A server started and stopped by a user who is not root: ourselves, or nobody if we are."""
    uid = NOBODY if IS_ROOT else os.geteuid()
    data_dir = public_dir / ("long" * 30)
    data_dir.mkdir(mode=0o700)
    os.chown(data_dir, uid, -1)
    binaries = copied_for_everyone(asyncio.run(find_binaries(None)), public_dir)
    with hold(data_dir, binaries.bindir, str(uid) if IS_ROOT else "") as holder:
        assert holder.stdout is not None
        said = json.loads(next(line for line in holder.stdout if line.startswith("{")))  # not its log
        socket_mode = stat.S_IMODE(Path(said["socket_dir"]).stat().st_mode)
        holder.communicate()  # closes its stdin, upon which it stops the server
        assert holder.returncode == 0
    return Ordinary(uid, data_dir, said, socket_mode, (data_dir / "postgres").stat().st_uid)


def test_an_ordinary_user_needs_nothing_special_even_in_a_long_directory(ordinary: Ordinary) -> None:
    assert ordinary.said["uid"] == ordinary.owner == ordinary.uid
    assert ordinary.said["role"] == [[False, False]]
    assert embedded(ordinary.data_dir).status().stage == "stopped"
    socket_dir = Path(ordinary.said["socket_dir"])
    assert len(str(socket_dir)) < 90
    assert ordinary.socket_mode == 0o700
    assert not socket_dir.exists()  # nothing is left in the temporary directory


def test_root_goes_on_as_the_user_who_made_the_database(ordinary: Ordinary) -> None:
    async def journey() -> None:
        server = embedded(ordinary.data_dir)
        urls = await server.start()
        assert await answers(urls.serve_url)
        assert urls.socket_dir.stat().st_uid == ordinary.uid
        await server.stop()

    asyncio.run(journey())


@pytest.mark.parametrize("owner", [NOBODY, STRANGER])
def test_root_is_served_where_a_user_namespace_is_of_no_use(owner: int, public_dir: Path) -> None:
    """The way to the data directory is closed to root in a namespace, as with ``sudo`` in a private home."""

    async def journey() -> None:
        closed = public_dir / f"home-{owner}"
        closed.mkdir(mode=0o700)
        server = EmbeddedPostgres(closed / "data", shared_dir=public_dir / "shared")
        if IS_ROOT:
            os.chown(closed, owner, -1)
        urls = await server.start()
        assert await answers(urls.serve_url)
        cluster = server.status().cluster
        assert cluster is not None
        is_elsewhere = IS_ROOT and owner == STRANGER  # nobody gets there either
        assert cluster.is_relative_to(server.shared_dir if is_elsewhere else server.data_dir)
        assert cluster.stat().st_uid == (NOBODY if IS_ROOT else os.geteuid())
        assert stat.S_IMODE(cluster.stat().st_mode) == 0o700
        server.detach()
        again = await server.start()
        assert (again.pid, again.reattached) == (urls.pid, True)
        await server.stop()

    asyncio.run(journey())


def test_a_socket_directory_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    path = make_socket_dir(tmp_path, Rights.own())
    assert make_socket_dir(tmp_path, Rights.own()) == path
    path.chmod(0o755)
    with pytest.raises(InterlockError, match="mode 0700"):
        make_socket_dir(tmp_path, Rights.own())
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InterlockError, match="mode 0700"):
        make_socket_dir(tmp_path, Rights.own())


def test_missing_or_unfit_programs_are_named_with_a_way_out(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    for name in ("postgres", "initdb"):
        (old / name).write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 14.9'\n")
        (old / name).chmod(0o755)

    async def journey() -> None:
        for bindir, why in ((tmp_path, "no runnable postgres and initdb"), (old, "version 14.9 is older than 15")):
            with pytest.raises(InterlockError, match=why) as refused:
                await embedded(tmp_path / "data", bindir).start()
            assert refused.value.code == "EMBEDDED_POSTGRES_MISSING"
            assert "DATABASE_URL" in refused.value.message
        cluster = tmp_path / "data" / "postgres"
        cluster.mkdir()
        (cluster / "PG_VERSION").write_text("42\n")
        with pytest.raises(InterlockError, match="PostgreSQL 42, which made this database"):
            await embedded(tmp_path / "data").start()

    asyncio.run(journey())
