"""The embedded Postgres keeps its promises: private, durable, found again after a crash, for root and for others."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import asyncpg
import pytest

from interlock.backends.store.embedded import EmbeddedPostgres, EmbeddedUrls, masked_url
from interlock.backends.store.embedded.log import cut_log
from interlock.core.errors import ErrorKind, InterlockError

HOLDER = Path(__file__).with_name("hold_embedded_postgres.py")
SYSTEM_BINDIRS = sorted(path for path in Path("/usr/lib/postgresql").glob("*/bin") if int(path.parent.name) >= 15)
DEADLINE_SECONDS = 30.0

Answer = TypeVar("Answer")


def hold(data_dir: Path) -> subprocess.Popen[str]:
    """A process that starts the server of ``data_dir``."""
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, HOLDER, data_dir, "", ""], stdin=pipe, stdout=pipe, text=True)


def said_by(holder: subprocess.Popen[str]) -> dict[str, Any]:
    """What the holder tells once its server is up."""
    assert holder.stdout is not None
    said: dict[str, Any] = json.loads(next(line for line in holder.stdout if line.startswith("{")))  # not its log
    return said


def kill(holder: subprocess.Popen[str]) -> None:
    """End a holder as a power cut would."""
    holder.kill()
    holder.communicate()


async def until(look: Callable[[], Answer | None]) -> Answer:
    """The first answer of ``look`` that is not None."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while (answer := look()) is None:
            await asyncio.sleep(0.002)
    return answer


def embedded(data_dir: Path, bindir: Path | None = None) -> EmbeddedPostgres:
    """A server that leaves nothing outside the parent of its data directory."""
    return EmbeddedPostgres(data_dir, bindir, data_dir.parent / "shared")


@asynccontextmanager
async def serving(server: EmbeddedPostgres) -> AsyncIterator[EmbeddedUrls]:
    """A started server that is left running at the end, for the next test."""
    try:
        yield await server.start()
    finally:
        server.detach()


async def asked(url: str, query: str, *values: object) -> Any:
    """One value from the database."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query, *values)
    finally:
        await connection.close()


async def ordered(url: str, *statements: str) -> None:
    """Statements that answer nothing, each on its own."""
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


def is_running(pid: int) -> bool:
    """Whether a process lives that is not merely waiting for its parent to notice its death."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture(scope="module")
def public_dir() -> Iterator[Path]:
    """A temporary directory that every user can reach, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="interlock-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def shared(public_dir: Path) -> Iterator[EmbeddedPostgres]:
    """One running server for all tests that can share it; whatever they do to it, the last start brings it back."""
    server = embedded(public_dir / "data")

    async def start() -> None:
        await server.start()
        server.detach()

    async def stop() -> None:
        await server.start()
        await server.stop()

    asyncio.run(start())
    yield server
    asyncio.run(stop())


ROLE = """
    select json_build_object('name', rolname, 'super', rolsuper, 'bypass', rolbypassrls, 'roles', rolcreaterole,
                             'databases', rolcreatedb, 'inherits', rolinherit, 'replicates', rolreplication)
    from pg_roles where rolname = current_user
"""
POWERLESS = {"super": False, "bypass": False, "roles": False, "databases": False, "replicates": False}


def test_both_urls_open_the_database_with_just_the_rights_they_need(shared: EmbeddedPostgres) -> None:
    async def journey() -> None:
        async with serving(shared) as urls:
            for url in (urls.migrate_url, urls.serve_url):
                assert await asked(url, "select 1") == 1
                assert await asked(url, "select current_database()") == "interlock"
            owner = json.loads(await asked(urls.migrate_url, ROLE))
            assert owner == POWERLESS | {"name": "interlock_owner", "roles": True, "inherits": True}
            server = json.loads(await asked(urls.serve_url, ROLE))
            assert server == POWERLESS | {"name": "interlock_server", "inherits": False}
            owned = "select count(*) from pg_shdepend where deptype = 'o' and refobjid = 'interlock_server'::regrole"
            assert await asked(urls.serve_url, owned) == 0
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await ordered(urls.serve_url, "create table mine (n int)")

    asyncio.run(journey())


def test_the_server_is_durable_and_listens_on_no_network(shared: EmbeddedPostgres) -> None:
    expected = {
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "wal_level": "replica",
        "data_checksums": "on",
        "listen_addresses": "",
        "server_encoding": "UTF8",
        "TimeZone": "UTC",
    }

    async def journey() -> None:
        async with serving(shared) as urls:
            for name, value in expected.items():
                assert (name, await asked(urls.serve_url, f"show {name}")) == (name, value)
            assert await asked(urls.serve_url, "select 'Ä' < 'a'") is False  # by code point, the same everywhere

    asyncio.run(journey())


def test_nobody_else_gets_in_and_no_password_is_shown(shared: EmbeddedPostgres) -> None:
    async def journey() -> None:
        async with serving(shared) as urls:
            password = urlsplit(urls.serve_url).password
            assert password is not None
            assert len(password) >= 43  # 256 bits
            for text in (repr(urls), str(urls), masked_url(urls.serve_url), repr(shared)):
                assert password not in text
            for wrong in ("", "postgres", urlsplit(urls.migrate_url).password):
                with pytest.raises((asyncpg.InvalidPasswordError, asyncpg.InterfaceError)):
                    await asked(urls.serve_url.replace(password, wrong or ""), "select 1")
            kept = shared.data_dir / "postgres-secrets.json"
            assert stat.S_IMODE(kept.stat().st_mode) == 0o600
            assert stat.S_IMODE(urls.socket_dir.stat().st_mode) == 0o700
            assert password not in (shared.data_dir / "log" / "postgres.log").read_text()

    asyncio.run(journey())


@pytest.mark.parametrize("bindir", [None, *SYSTEM_BINDIRS], ids=str)
def test_migrations_can_make_roles_and_lend_them_to_the_serving_role(
    bindir: Path | None, shared: EmbeddedPostgres, public_dir: Path
) -> None:
    async def journey() -> None:
        server = embedded(public_dir / bindir.parent.name, bindir) if bindir else shared
        async with serving(server) as urls:
            await ordered(
                urls.migrate_url,
                "create role authenticated nologin",
                "create role interlock_engine nologin",
                "grant authenticated, interlock_engine to interlock_server",
                "alter role interlock_server set statement_timeout = '5s'",
                "create schema app",
                "create table app.thing (n int)",
                "alter table app.thing enable row level security, force row level security",
                "create policy see on app.thing to authenticated using (n > 0) with check (true)",
                "grant usage on schema app to authenticated",
                "grant select, insert on app.thing to authenticated",
            )
            assert await asked(urls.serve_url, "show statement_timeout") == "5s"
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await asked(urls.serve_url, "select count(*) from app.thing")  # lent, not inherited
            await ordered(urls.serve_url, "set role authenticated; insert into app.thing values (0), (1)")
            connection = await asyncpg.connect(urls.serve_url)
            await connection.execute("set role authenticated")
            assert await connection.fetchval("select count(*) from app.thing") == 1
            await connection.close()
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await ordered(urls.migrate_url, "create role boss superuser")
            if bindir:
                await server.stop()

    asyncio.run(journey())


def test_the_server_outlives_a_killed_holder_and_is_found_again(shared: EmbeddedPostgres) -> None:
    async def journey() -> None:
        async with serving(shared):
            await shared.stop()
        with hold(shared.data_dir) as holder:
            said = said_by(holder)
            kill(holder)
        async with serving(shared) as urls:
            assert (urls.pid, urls.reattached) == (said["pid"], True)
            assert await asked(urls.serve_url, "select 1") == 1
            assert (await shared.start()).pid == urls.pid  # starting a started server changes nothing

    asyncio.run(journey())


def test_a_second_holder_of_the_data_directory_is_refused_by_name(shared: EmbeddedPostgres) -> None:
    async def journey() -> None:
        second = embedded(shared.data_dir)
        async with serving(shared) as urls:
            with pytest.raises(InterlockError) as refused:
                await second.start()
            assert (refused.value.kind, refused.value.code) == (ErrorKind.UNAVAILABLE, "DATA_DIRECTORY_IN_USE")
            assert str(os.getpid()) in refused.value.message
            assert str(shared.data_dir) in refused.value.message
            await second.stop()  # it holds nothing, so it stops nothing
            assert await asked(urls.serve_url, "select 1") == 1
        async with serving(second) as urls:
            assert urls.reattached

    asyncio.run(journey())


def test_data_survive_a_stop_and_stopping_twice_is_the_same(shared: EmbeddedPostgres) -> None:
    async def journey() -> None:
        async with serving(shared) as first:
            await ordered(first.migrate_url, "create table kept (n int)", "insert into kept values (7)")
            idle = await asyncpg.connect(first.serve_url)  # does not hold the stop up
            await shared.stop()
            await shared.stop()
            assert not is_running(first.pid)
            assert shared.status().stage == "stopped"
            idle.terminate()
        async with serving(shared) as second:
            assert not second.reattached
            assert await asked(second.migrate_url, "select n from kept") == 7
            assert (shared.status().stage, shared.status().pid) == ("ready", second.pid)

    asyncio.run(journey())


def test_a_killed_server_recovers_what_was_committed(shared: EmbeddedPostgres) -> None:
    async def journey() -> None:
        async with serving(shared) as first:
            await ordered(first.migrate_url, "create table crashed (n int)", "insert into crashed values (8)")
            os.kill(first.pid, signal.SIGKILL)
            second = await shared.start()  # the holder need not even let go
            assert second.pid != first.pid
            assert not second.reattached
            assert await asked(second.migrate_url, "select n from crashed") == 8

    asyncio.run(journey())


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A living process that has nothing to do with any database."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_a_pid_file_that_names_a_strangers_process_is_not_believed(
    shared: EmbeddedPostgres, stranger: subprocess.Popen[bytes]
) -> None:
    async def journey() -> None:
        async with serving(shared) as urls:
            cluster = shared.status().cluster
            assert cluster is not None
            pid_file = cluster / "postmaster.pid"
            noted = pid_file.read_text()
            await shared.stop()
        pid_file.write_text(noted.replace(str(urls.pid), str(stranger.pid), 1))
        shutil.copy(pid_file, urls.socket_dir / ".s.PGSQL.5432.lock")
        assert shared.status().stage == "stopped"
        async with serving(shared) as again:
            assert not again.reattached
            assert await asked(again.serve_url, "select 1") == 1
        assert stranger.poll() is None

    asyncio.run(journey())


def test_an_interrupted_initialisation_heals(public_dir: Path) -> None:
    async def journey() -> None:
        server = embedded(public_dir / "interrupted")

        def is_half_made() -> bool | None:
            return any(server.data_dir.glob("half-made-*/cluster/base")) or None

        with hold(server.data_dir) as holder:
            await until(is_half_made)
            kill(holder)
        assert server.status().stage == "absent"
        start = asyncio.create_task(server.start())
        await until(is_half_made)
        start.cancel()  # Ctrl-C
        with pytest.raises(asyncio.CancelledError):
            await start
        assert server.status().stage == "absent"
        for _ in range(2):  # the second sweeps up what the killed holder's initdb may still have been writing
            async with serving(server) as urls:
                assert await asked(urls.serve_url, "select 1") == 1
                await server.stop()
        assert {path.name for path in server.data_dir.iterdir()} == {
            *("lock", "log", "postgres", "postgres-secrets.json", "socket"),
        }

    asyncio.run(journey())


def test_lost_passwords_are_not_replaced_in_silence(shared: EmbeddedPostgres, tmp_path: Path) -> None:
    async def journey() -> None:
        kept = shared.data_dir / "postgres-secrets.json"
        kept.rename(tmp_path / "kept")
        with pytest.raises(InterlockError, match="Restore that file") as refused:
            await shared.start()
        assert refused.value.code == "EMBEDDED_PASSWORDS_LOST"
        (tmp_path / "kept").rename(kept)
        async with serving(shared) as urls:
            assert await asked(urls.serve_url, "select 1") == 1

    asyncio.run(journey())


def test_the_log_is_cut_under_a_running_server(shared: EmbeddedPostgres) -> None:
    async def journey() -> None:
        log = shared.status().log
        async with serving(shared) as urls:
            with pytest.raises(asyncpg.DivisionByZeroError):
                await asked(urls.serve_url, "select 1 / 0 as before")
            assert not cut_log(log)  # far too small
            assert cut_log(log, largest=100, kept=1000)
            earlier = log.with_name("postgres.log.1")
            assert "before" in earlier.read_text()
            assert earlier.stat().st_size <= 1000
            with pytest.raises(asyncpg.DivisionByZeroError):
                await asked(urls.serve_url, "select 1 / 0 as after")
            assert "after" in log.read_text()
            assert "before" not in log.read_text()
            assert log.stat().st_size < 1000

    asyncio.run(journey())


def test_the_all_powerful_url_exists_only_while_the_server_runs(shared: EmbeddedPostgres) -> None:
    async def journey() -> None:
        async with serving(shared):
            assert json.loads(await asked(shared.superuser_url(), ROLE))["super"] is True
            await shared.stop()
            with pytest.raises(InterlockError, match="start it first"):
                shared.superuser_url()

    asyncio.run(journey())
