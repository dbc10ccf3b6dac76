"""Connections that are open: those that carry a request, and those that wait for the next one."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable

from interlock.backends.egress.connection import Connection
from interlock.backends.egress.failures import failed
from interlock.backends.egress.target import Origin

IDLE_SECONDS = 15.0
"""So long a connection waits for its next request."""
MOST_IDLE = 256
"""Connections to one server that wait."""
MOST_OPEN = 1_024

Lost = Callable[[Connection], None]
Connect = Callable[[Origin, Lost, Lost], Awaitable[Connection]]


class Pool:
    """At most ``MOST_OPEN`` connections, made by ``connect``; whoever needs one more waits."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._open: set[Connection] = set()
        self._idle: defaultdict[Origin, list[Connection]] = defaultdict(list)  # who waits longest is first
        self._room = asyncio.Semaphore(MOST_OPEN)
        self._sweeping: asyncio.TimerHandle | None = None
        self._is_closed = False

    def reuse(self, origin: Origin) -> Connection | None:
        """A connection that waits, if there is one."""
        waiting = self._idle.get(origin)
        oldest = asyncio.get_running_loop().time() - IDLE_SECONDS
        while waiting:
            connection = waiting.pop()
            if connection.idle_since >= oldest and connection.is_open:
                return connection
            connection.abort()
        return None

    async def make(self, origin: Origin) -> Connection:
        """A new connection. Raises what ``connect`` does."""
        if self._room.locked():
            self._make_room()
        await self._room.acquire()
        try:
            connection = await self._connect(origin, self._free, self._lost)
            if not connection.is_open:  # and ``_lost`` may have been told already
                raise failed(origin, "closed the connection at once", retryable=True, connected=False)
        except BaseException:
            self._room.release()
            raise
        self._open.add(connection)
        if self._is_closed:
            connection.abort()
        return connection

    def close(self) -> None:
        """Hang up everywhere, also where a connection is still being made."""
        self._is_closed = True
        for connection in tuple(self._open):
            connection.abort()
        self._idle.clear()
        if self._sweeping is not None:
            self._sweeping.cancel()

    def _free(self, connection: Connection) -> None:
        waiting = self._idle[connection.origin]
        if len(waiting) >= MOST_IDLE or self._room.locked():
            connection.abort()
            return
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        waiting.append(connection)
        if self._sweeping is None:
            self._sweeping = loop.call_later(IDLE_SECONDS, self._sweep)

    def _lost(self, connection: Connection) -> None:
        if connection not in self._open:
            return  # it was lost while it was being made
        self._open.discard(connection)
        self._room.release()
        waiting = self._idle.get(connection.origin)
        if waiting is not None and connection in waiting:
            waiting.remove(connection)

    def _make_room(self) -> None:
        """Hang up where somebody waits for longest."""
        lists = [waiting for waiting in self._idle.values() if waiting]
        if lists:  # it leaves its list at once, so that who comes next finds another one
            min(lists, key=lambda waiting: waiting[0].idle_since).pop(0).abort()

    def _sweep(self) -> None:
        oldest = asyncio.get_running_loop().time() - IDLE_SECONDS
        for origin, waiting in list(self._idle.items()):
            for connection in waiting:
                if connection.idle_since <= oldest:
                    connection.abort()
            self._idle[origin] = [connection for connection in waiting if connection.idle_since > oldest]
            if not self._idle[origin]:
                del self._idle[origin]
        later = asyncio.get_running_loop().call_later
        self._sweeping = later(IDLE_SECONDS, self._sweep) if self._idle else None
