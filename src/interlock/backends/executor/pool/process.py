"""A child as the server sees it: a channel to talk through, and a lifeline to let go of."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from interlock.backends.executor.logs import log
from interlock.backends.executor.pool.bounds import is_fit
from interlock.backends.executor.pool.cell import Cell
from interlock.backends.executor.pool.messages import (
    HEADER,
    MAX_FRAME,
    FromChild,
    Message,
    frame,
    read_child,
)

_GUARD = str(Path(__file__).with_name("guard.py"))
_AHEAD = 256 * 1024
"""Bytes that are taken while others are at work: with the usual 64 KiB a large message comes in crumbs, and with much
more a flood of small ones waits here, each of which has to be read before the child's end is seen."""
_PATIENCE = 3.0
"""Seconds for a guard to end its child before it is killed itself, and the child with it by the kernel."""


class ChildProcess:
    """A guard and its child. ``start`` it, read ``messages`` until they end, then ``end`` it."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._lifeline: int | None = None
        self._guard: asyncio.subprocess.Process | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._is_let_go = False
        self.read_at = 0.0
        """When the reading of the last message began, in seconds of ``time.thread_time``."""

    async def start(self) -> None:
        """Start the programs; the child says Ready or Unable once it has loaded its registry. Raises OSError."""
        cell = self._cell
        ours, theirs = socket.socketpair()
        held, self._lifeline = os.pipe()
        try:
            self._reader, self._writer = await asyncio.open_connection(sock=ours, limit=_AHEAD)
            self._guard = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", _GUARD, str(theirs.fileno()), str(held)),
                ":".join(cell.groups),
                *cell.command(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), held),
                start_new_session=True,
                env=cell.environment,
            )
        finally:
            theirs.close()
            os.close(held)
        if self._is_let_go:
            self.let_go()

    def say(self, message: Message) -> None:
        """Send a message; one to a dead child is lost. Raises NodeFailed MESSAGE_TOO_LARGE."""
        if self._writer is not None:
            self._writer.write(frame(message))

    @property
    def unread(self) -> int:
        """Bytes that the child has not taken yet."""
        return self._writer.transport.get_write_buffer_size() if self._writer is not None else 0

    async def messages(self) -> AsyncIterator[FromChild]:
        """What the child says, until it is dead or talks nonsense."""
        if self._reader is None:
            return
        try:
            while True:
                length = int.from_bytes(await self._reader.readexactly(HEADER), "big")
                if length > MAX_FRAME:
                    log.error("executor.child_talks_nonsense", bytes=length)
                    return
                body = await self._reader.readexactly(length)
                if not self._cell.is_trusted and not is_fit(body):
                    log.error("executor.child_talks_nonsense", bytes=length)
                    return
                self.read_at = time.thread_time()
                yield read_child.decode(body)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        except msgspec.MsgspecError as error:
            log.error("executor.child_talks_nonsense", error=str(error))

    def let_go(self) -> None:
        """Have the child and all it started killed. Returns at once; ``messages`` end when it is dead."""
        self._is_let_go = True
        if self._guard is not None and self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None

    async def end(self) -> int | None:
        """Let go, and return once the child is dead: its exit code, or 128 and the signal; None if never started."""
        self.let_go()
        if self._writer is not None:
            self._writer.close()
        if self._guard is None:
            if self._lifeline is not None:
                os.close(self._lifeline)
                self._lifeline = None
            return None
        try:
            async with asyncio.timeout(_PATIENCE):
                return await self._guard.wait()
        except TimeoutError:
            self.kill_guard()
            return await self._guard.wait()

    def kill_guard(self) -> None:
        """The last resort: the child of a dead guard dies with it (on Linux)."""
        if self._guard is not None and self._guard.returncode is None:
            log.error("executor.guard_will_not_end", pid=self._guard.pid)
            self._guard.kill()
