"""Threads in which names are looked up, and who may hold how many of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from interlock.backends.egress.shares import Shares
from interlock.core.errors import unavailable

THREADS = 32  # of our own: slow names must not hold up the look-ups of the database and of others
EACH = 4
"""Look-ups of one asker at a time. One that hangs holds its thread until the system gives up, whoever still waits."""

T = TypeVar("T")


class LookUps:
    """Runs look-ups in threads, each asker's at most ``EACH`` at a time; those of nobody in particular share all."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="egress-lookup")
        self._shares = Shares(EACH, THREADS)

    async def run(self, asker: str, work: Callable[[], T]) -> T:
        """What ``work`` returns, once ``asker`` has a turn. A caller that leaves gives its turn back with the thread.

        Raises UNAVAILABLE after ``close``, and what ``work`` raises.
        """
        await self._shares.take(asker)
        try:
            future = self._threads.submit(work)
        except RuntimeError as error:
            self._shares.give(asker)
            raise unavailable("Outgoing calls have ended because the server is stopping.") from error
        loop = asyncio.get_running_loop()

        def done(_: object) -> None:
            with suppress(RuntimeError):  # the loop has ended, and with it whoever waited
                loop.call_soon_threadsafe(self._shares.give, asker)

        future.add_done_callback(done)
        return await asyncio.wrap_future(future)

    def is_full(self, asker: str) -> bool:
        """Whether all turns of ``asker`` are taken."""
        return self._shares.is_full(asker)

    def close(self) -> None:
        """Forget look-ups that wait; those under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)
