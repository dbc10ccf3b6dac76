"""Hints between processes by LISTEN and NOTIFY. Losing the connection costs latency and nothing else."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import asyncpg

from interlock.backends.bus.hints import unpack
from interlock.backends.bus.shared import SharedBus

CHANNEL = "interlock_hints"
PING_SECONDS = 30.0
ANSWER_SECONDS = 5.0
FIRST_DELAY, LONGEST_DELAY = 0.1, 5.0

_LOST = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError)  # OSError: also a timeout

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Connect = Callable[[], Awaitable[Connection]]


class PostgresBus(SharedBus):
    """Satisfies ``ports.bus.Bus`` over one connection that ``connect`` makes, as the serving role.

    The connection must not go through a pooler in transaction mode.
    """

    def __init__(self, connect: Connect) -> None:
        super().__init__()
        self._connect = connect

    async def start(self) -> None:
        """Listen, or keep trying to in the background if the database is away."""
        self._keeper = asyncio.create_task(self._keep_connected())
        await self._is_settled.wait()

    async def stop(self) -> None:
        """Close the connection and let everybody go who waits. Hints not sent yet are dropped."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
        await self._local.stop()

    async def _keep_connected(self) -> None:
        delay = FIRST_DELAY
        while True:
            try:
                connection = await self._connect()
            except _LOST as error:
                self._log.warning("bus.unreachable", error=str(error) or type(error).__name__)
            else:
                delay = FIRST_DELAY
                await self._work_on(connection)
            self._is_settled.set()
            self._outbox.forget()  # they would be old news
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(delay * 2, LONGEST_DELAY)

    async def _work_on(self, connection: Connection) -> None:
        """Listen and send until the connection is lost."""
        try:
            connection.add_termination_listener(self._on_lost)
            await connection.add_listener(CHANNEL, self._on_notified)
            self._local.wake_all()  # what was said while nobody listened
            self._outbox.look()  # and what could not be said
            self._is_settled.set()
            while not connection.is_closed():
                await self._send_next(connection)
            self._log.warning("bus.connection_lost", error="closed by the server")
        except _LOST as error:
            self._log.warning("bus.connection_lost", error=str(error) or type(error).__name__)
        finally:
            connection.terminate()

    async def _send_next(self, connection: Connection) -> None:
        try:
            texts = await self._outbox.texts(PING_SECONDS)
        except TimeoutError:  # a silent network is noticed only by asking
            await connection.execute("select", timeout=ANSWER_SECONDS)
            return
        for text in texts:
            await connection.execute("select pg_notify($1, $2)", CHANNEL, text, timeout=ANSWER_SECONDS)

    def _on_lost(self, _: Any) -> None:
        self._outbox.nudge()  # ends the wait for something to send

    def _on_notified(self, connection: Any, sender: int, _: str, text: object) -> None:
        if sender == connection.get_server_pid():
            return  # our own: everybody here was told
        try:
            hints = unpack(str(text))
        except ValueError as error:  # of a newer release, or of somebody else in this database
            self._log.warning("bus.unreadable_hint", error=str(error))
            return
        for hint in hints:
            self._local.heard(hint)
        if not hints:
            self._local.wake_all()
