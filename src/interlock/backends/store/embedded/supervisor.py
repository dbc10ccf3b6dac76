"""Starts, finds again and stops the Postgres server of a data directory."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from interlock.backends.store.embedded.cluster import SUPERUSER, clear_half_made, make_cluster
from interlock.backends.store.embedded.lock import DataLock
from interlock.backends.store.embedded.log import keep_log_bounded
from interlock.backends.store.embedded.passwords import Passwords, make_passwords, read_passwords
from interlock.backends.store.embedded.placement import SHARED, Placement, find_home, place
from interlock.backends.store.embedded.postmaster import (
    Postmaster,
    attach_or_launch,
    find_postmaster,
    stop_postmaster,
)
from interlock.backends.store.embedded.roles import DATABASE, OWNER, SERVER, ensure_roles
from interlock.backends.store.embedded.urls import EmbeddedUrls, socket_url
from interlock.core.errors import ErrorKind, InterlockError, unavailable


@dataclass(frozen=True)
class EmbeddedStatus:
    """What can be seen of the database of a data directory without touching it."""

    stage: str  # absent (none was made yet), stopped, starting, ready, stopping
    pid: int | None  # of the postmaster
    cluster: Path | None
    log: Path


@dataclass
class EmbeddedPostgres:
    """The Postgres server of one data directory, held by at most one process at a time.

    The server has its own session and outlives a killed holder; the next ``start`` finds it again. ``bindir`` names
    the Postgres programs instead of the installed ones; ``shared_dir`` is used only for root and only where a user
    namespace does not do (see ``placement``).
    """

    data_dir: Path
    bindir: Path | None = None
    shared_dir: Path = SHARED
    _lock: DataLock | None = field(init=False, default=None, repr=False)
    _log_keeper: asyncio.Task[None] | None = field(init=False, default=None, repr=False)
    _turn: asyncio.Lock = field(init=False, default_factory=asyncio.Lock, repr=False)

    def __post_init__(self) -> None:
        self.data_dir = self.data_dir.expanduser().resolve()

    async def start(self) -> EmbeddedUrls:
        """A server that takes connections: made, started or found again as needed. May be called again at any time.

        When it returns, the database ``interlock`` and its two roles exist. Raises UNAVAILABLE if another process
        holds the data directory, no programs are found, or the server does not start; each says what to do.
        """
        async with self._turn:
            self._lock = self._lock or DataLock.take(self.data_dir)
            try:
                return await self._bring_up(self._lock.is_new_directory)
            except OSError as error:
                self.detach()
                raise _unusable(self.data_dir, error) from error
            except BaseException:
                self.detach()
                raise

    async def stop(self) -> None:
        """Stop the server within about 17 s and give the data directory back; does nothing if not started."""
        async with self._turn:
            if self._lock is None:
                return
            try:
                if home := find_home(self.data_dir, self.shared_dir):
                    await stop_postmaster(home / "postgres")
            finally:
                self.detach()

    def detach(self) -> None:
        """Give the data directory back and leave the server running for the next ``start``."""
        if self._log_keeper:
            self._log_keeper.cancel()
            self._log_keeper = None
        if self._lock:
            self._lock.release()
            self._lock = None

    def status(self) -> EmbeddedStatus:
        """Look without holding the data directory."""
        home = find_home(self.data_dir, self.shared_dir)
        if home is None:
            return EmbeddedStatus("absent", None, None, self._log)
        cluster = home / "postgres"
        found = find_postmaster(cluster)
        return EmbeddedStatus(found.stage if found else "stopped", found.pid if found else None, cluster, self._log)

    def superuser_url(self, database: str = DATABASE) -> str:
        """The URL of the all-powerful role, for repairs and for tests that make databases; serving never needs it.

        UNAVAILABLE if the server does not run.
        """
        home = find_home(self.data_dir, self.shared_dir)
        postmaster = find_postmaster(home / "postgres") if home else None
        if home is None or postmaster is None:
            raise unavailable(f"the Postgres server of {self.data_dir} does not run; start it first.")
        return _superuser_url(postmaster, read_passwords(self._secrets, home / "postgres"), database)

    @property
    def _log(self) -> Path:
        return self.data_dir / "log" / "postgres.log"

    @property
    def _secrets(self) -> Path:
        return self.data_dir / "postgres-secrets.json"

    async def _bring_up(self, is_new: bool) -> EmbeddedUrls:
        self._log.parent.mkdir(mode=0o700, exist_ok=True)
        placement = await place(self.data_dir, self.bindir, self.shared_dir, is_new)
        passwords = await self._ensure_cluster(placement)
        postmaster, reattached = await attach_or_launch(placement, self._log)
        await ensure_roles(_superuser_url(postmaster, passwords, "postgres"), placement.cluster, passwords)
        if self._log_keeper is None or self._log_keeper.done():
            self._log_keeper = asyncio.create_task(keep_log_bounded(self._log))
        return _urls(postmaster, passwords, reattached)

    async def _ensure_cluster(self, placement: Placement) -> Passwords:
        clear_half_made(placement.home)
        if (placement.cluster / "PG_VERSION").exists():
            return read_passwords(self._secrets, placement.cluster)
        passwords = make_passwords(self._secrets)
        await make_cluster(placement, passwords.superuser)
        return passwords


def _superuser_url(postmaster: Postmaster, passwords: Passwords, database: str) -> str:
    return socket_url(SUPERUSER, passwords.superuser, postmaster.socket_dir, database)


def _unusable(data_dir: Path, error: OSError) -> InterlockError:
    message = f"cannot keep a database in {data_dir}: {error.strerror or error} ({error.filename}); choose another."
    return InterlockError(ErrorKind.UNAVAILABLE, "DATA_DIRECTORY_UNUSABLE", message)


def _urls(postmaster: Postmaster, passwords: Passwords, reattached: bool) -> EmbeddedUrls:
    return EmbeddedUrls(
        migrate_url=socket_url(OWNER, passwords.owner, postmaster.socket_dir, DATABASE),
        serve_url=socket_url(SERVER, passwords.server, postmaster.socket_dir, DATABASE),
        socket_dir=postmaster.socket_dir,
        pid=postmaster.pid,
        reattached=reattached,
    )
