"""Hints within one process: enough alone, and the inner half of every other bus."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import UUID

OnInbox = Callable[[UUID, int | None], None]


class Follower:
    """Someone who follows one execution; one task at a time waits on it."""

    def __init__(self, bus: MemoryBus, execution_id: UUID) -> None:
        self._bus = bus
        self._execution_id = execution_id
        self._is_hinted = False
        self._waiter: asyncio.Future[None] | None = None

    async def wait(self, timeout: float) -> bool:
        """True as soon as there was a hint since the last call; False after ``timeout`` seconds or once closed."""
        if not self._is_hinted and timeout > 0:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(timeout, self._wake)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        is_hinted, self._is_hinted = self._is_hinted, False
        return is_hinted

    def close(self) -> None:
        """No more hints; who waits is let go. May be called again."""
        self._bus._forget(self._execution_id, self)
        self._wake()

    def _hint(self) -> None:
        self._is_hinted = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class MemoryBus:
    """Satisfies ``ports.bus.Bus`` for a process without peers. Every call is for the event loop's own thread."""

    def __init__(self) -> None:
        self._followers: dict[UUID, set[Follower]] = {}
        self._on_inbox: list[OnInbox] = []

    async def start(self) -> None:
        """Nothing to do: it is always up."""

    async def stop(self) -> None:
        """Let everybody go who waits."""
        for followers in list(self._followers.values()):
            for follower in list(followers):
                follower.close()

    def log_grew(self, execution_id: UUID) -> None:
        """Wake whoever follows the execution here, at once."""
        for follower in self._followers.get(execution_id, ()):
            follower._hint()

    def inbox_grew(self, execution_id: UUID, owner: int | None) -> None:
        """Tell everybody who asked by ``on_inbox``, at once."""
        for callback in self._on_inbox:
            callback(execution_id, owner)

    def follow(self, execution_id: UUID) -> Follower:
        """A subscription from now on. Follow first and read then, or else what happens between is hinted to nobody."""
        follower = Follower(self, execution_id)
        self._followers.setdefault(execution_id, set()).add(follower)
        return follower

    def on_inbox(self, callback: OnInbox) -> None:
        """Be told of every ``inbox_grew``. The callback must not block or raise."""
        self._on_inbox.append(callback)

    def set_peers(self, others: bool) -> None:
        """Nothing ever leaves this process."""

    def wake_all(self) -> None:
        """A hint to every follower: after hints may have been missed, everybody looks for itself."""
        for followers in self._followers.values():
            for follower in followers:
                follower._hint()

    def _forget(self, execution_id: UUID, follower: Follower) -> None:
        followers = self._followers.get(execution_id)
        if followers is not None:
            followers.discard(follower)
            if not followers:
                del self._followers[execution_id]
