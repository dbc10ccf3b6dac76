"""The open connections of one server: how many there may be, and which of them take too long."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from interlock.doors.http.plumbing.client import network_of
from interlock.doors.http.plumbing.intake import Intake

SWEEP_SECONDS = 1.0
"""How often connections are looked at; a deadline is met by so much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WireLimits:
    """What a client may take its time for. Times are seconds, sizes bytes."""

    first_byte: float = 5.0
    """From the connection to the first byte."""
    headers: float = 9.0
    """From the first byte of a request to the end of its headers."""
    body_grace: float = 8.0
    """So long a body may come as slowly as it likes."""
    body_rate: int = 1024
    """From then on it must have come with so many bytes a second on average."""
    stalled: float = 15.0
    """So long a client may leave what was sent to it unread."""
    lingering: float = 4.0
    """So long a closed connection may stay open for what is still to be sent."""
    last_moment: float = 1.0
    """When the server stops: so long ago a connection was used that is not closed at once, and so long it stays."""
    header_bytes: int = 64 * 1024
    header_count: int = 100
    per_address: int = 2000
    """Connections from one address; of IPv6 from one /64."""
    total: int = 100_000
    """Connections in all."""


class Connection(Protocol):
    """What is looked at."""

    @property
    def address(self) -> str:
        """The peer's; empty if it has none."""
        ...

    def look(self, now: float, passed: float) -> None:
        """End the connection if it takes too long. ``now`` is the loop's time, ``passed`` the seconds since last."""
        ...


class Connections:
    """All connections of a server. Addresses that are ``exempt``, its own proxies, may hold any number.

    ``on_refused`` is told why, each time one is refused or ended early.
    """

    def __init__(
        self,
        limits: WireLimits,
        exempt: Callable[[str], bool] = lambda address: False,
        on_refused: Callable[[str], None] = lambda reason: None,
    ) -> None:
        self.limits = limits
        self.intake = Intake()
        self.is_draining = False
        """Whether connections are to end after the answer they wait for."""
        self.refused: Counter[str] = Counter()
        """How many connections were refused or ended early, by reason."""
        self._is_exempt = exempt
        self._on_refused = on_refused
        self._open: set[Connection] = set()
        self._by_group: Counter[str] = Counter()
        self._is_sweeping = False
        self._emptied: asyncio.Event | None = None

    def __len__(self) -> int:
        return len(self._open)

    def note_refused(self, reason: str) -> None:
        """One more was refused or ended early."""
        self.refused[reason] += 1
        self._on_refused(reason)

    def enter(self, connection: Connection) -> bool:
        """Watch a connection from now on; False if it is one too many, and then it is to be closed."""
        group = network_of(connection.address)
        is_limited = group != "" and not self._is_exempt(connection.address)
        is_one_too_many = len(self._open) >= self.limits.total or (
            is_limited and self._by_group[group] >= self.limits.per_address
        )
        self._open.add(connection)
        self._by_group[group] += 1
        if not self._is_sweeping:
            self._is_sweeping = True
            self._sweep_later()
        return not is_one_too_many

    def leave(self, connection: Connection) -> None:
        """It is closed, or somebody else's from now on. May be called again."""
        if connection not in self._open:
            return
        self._open.discard(connection)
        group = network_of(connection.address)
        self._by_group[group] -= 1
        if self._by_group[group] <= 0:
            del self._by_group[group]
        if not self._open and self._emptied is not None:
            self._emptied.set()

    async def wait_empty(self, seconds: float) -> None:
        """Wait until the last connection is gone, at most so long."""
        if self._open:
            self._emptied = asyncio.Event()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):  # wait_for may swallow a cancellation
                    await self._emptied.wait()

    def _sweep_later(self) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(SWEEP_SECONDS, self._sweep, loop.time())

    def _sweep(self, before: float) -> None:
        now = asyncio.get_running_loop().time()
        for connection in tuple(self._open):
            connection.look(now, now - before)
        self._is_sweeping = bool(self._open)
        if self._is_sweeping:
            self._sweep_later()
