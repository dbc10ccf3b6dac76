"""Threads in which names are looked up, and who may hold how many of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from interlock.core.errors import unavailable

THREADS = 32  # of our own: slow names must not hold up the look-ups of the database and of others
EACH = 4
"""Look-ups of one asker at a time. One that hangs holds its thread until the system gives up, whoever still waits."""

T = TypeVar("T")


@dataclass(slots=True)
class _Line:
    """The turns of one asker; ``users`` have one or wait for one."""

    turns: asyncio.Semaphore
    users: int = 0


class LookUps:
    """Runs look-ups in threads, each asker's at most ``EACH`` at a time; those of nobody in particular share all."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="egress-lookup")
        self._lines: dict[str, _Line] = {}

    async def run(self, asker: str, work: Callable[[], T]) -> T:
        """What ``work`` returns, once ``asker`` has a turn. A caller that leaves gives its turn back with the thread.

        Raises UNAVAILABLE after ``close``, and what ``work`` raises.
        """
        line = self._lines.get(asker) or _Line(asyncio.Semaphore(EACH if asker else THREADS))
        self._lines[asker] = line
        line.users += 1
        try:
            await line.turns.acquire()
        except BaseException:
            self._leave(asker, line)
            raise
        try:
            future = self._threads.submit(work)
        except RuntimeError as error:
            self._free(asker, line)
            raise unavailable("Outgoing calls have ended because the server is stopping.") from error
        loop = asyncio.get_running_loop()

        def done(_: object) -> None:
            with suppress(RuntimeError):  # the loop has ended, and with it whoever waited
                loop.call_soon_threadsafe(self._free, asker, line)

        future.add_done_callback(done)
        return await asyncio.wrap_future(future)

    def is_full(self, asker: str) -> bool:
        """Whether all turns of ``asker`` are taken."""
        line = self._lines.get(asker)
        return line is not None and line.turns.locked()

    def close(self) -> None:
        """Forget look-ups that wait; those under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _free(self, asker: str, line: _Line) -> None:
        line.turns.release()
        self._leave(asker, line)

    def _leave(self, asker: str, line: _Line) -> None:
        line.users -= 1
        if not line.users:
            del self._lines[asker]
