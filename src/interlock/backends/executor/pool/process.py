"""A child as the server sees it: a channel to talk through, and a lifeline to let go of."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import msgspec

from interlock.backends.executor.frames import Frames, FrameTooLarge
from interlock.backends.executor.logs import log
from interlock.backends.executor.pool.bounds import is_fit
from interlock.backends.executor.pool.cell import Cell
from interlock.backends.executor.pool.messages import (
    MAX_FRAME,
    FromChild,
    Message,
    frame,
    read_child,
)

_GUARD = str(Path(__file__).with_name("guard.py"))
_PATIENCE = 3.0
"""Seconds for a guard to end its child before it is killed itself, and the child with it by the kernel."""


class ChildProcess:
    """A guard and its child. ``start`` it, wait until it is ``silent``, then ``end`` it.

    ``hear`` gets each message, and when its reading began in seconds of ``time.thread_time``; it says for how many
    seconds the child is not listened to then.
    """

    def __init__(self, cell: Cell, hear: Callable[[FromChild, float], float]) -> None:
        self._cell = cell
        self._hear = hear
        self._lifeline: int | None = None
        self._guard: asyncio.subprocess.Process | None = None
        self._channel: _Channel | None = None
        self._is_let_go = False

    async def start(self) -> None:
        """Start the programs; the child says Ready or Unable once it has loaded its registry. Raises OSError."""
        cell = self._cell
        ours, theirs = socket.socketpair()
        held, self._lifeline = os.pipe()
        try:
            loop = asyncio.get_running_loop()
            _, self._channel = await loop.create_connection(lambda: _Channel(self._read), sock=ours)
            self._guard = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", _GUARD, str(theirs.fileno()), str(held)),
                *(":".join(cell.groups), ":".join(cell.reached)),
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
        if self._channel is not None:
            self._channel.say(frame(message))

    @property
    def unread(self) -> int:
        """Bytes that the child has not taken yet."""
        return self._channel.unread if self._channel is not None else 0

    @property
    def left_unread(self) -> bool:
        """Whether the child died without having read all that was said to it. Never told where only Linux tells it."""
        return self._channel is not None and self._channel.is_reset

    async def silent(self) -> None:
        """Return when the child is dead or talks nonsense."""
        if self._channel is not None:
            await self._channel.closed

    def _read(self, body: bytes) -> float:
        if not self._cell.is_trusted and not is_fit(body):
            raise FrameTooLarge(len(body))
        begun = time.thread_time()
        return self._hear(read_child.decode(body), begun)

    def let_go(self) -> None:
        """Have the child and all it started killed. Returns at once; it is ``silent`` when it is dead."""
        self._is_let_go = True
        if self._guard is not None and self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None

    async def end(self) -> int | None:
        """Let go, and return once the child is dead: its exit code, or 128 and the signal; None if never started."""
        self.let_go()
        if self._channel is not None:
            self._channel.close()
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


class _Channel(asyncio.Protocol):
    """The server's end. ``read`` gets each message, and says for how many seconds no further one is read."""

    def __init__(self, read: Callable[[bytes], float]) -> None:
        self._read = read
        self._frames = Frames(MAX_FRAME)
        self._transport: asyncio.Transport | None = None
        self._is_resting = False
        self.is_reset = False
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def unread(self) -> int:
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def say(self, framed: bytes) -> None:
        if self._transport is not None:
            self._transport.write(framed)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._frames.feed(data)
        if not self._is_resting:
            self._read_on()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.is_reset = exc is not None  # what a dead end of a socket has not read is an error to the other one
        if not self.closed.done():
            self.closed.set_result(None)

    def _read_on(self) -> None:
        try:
            while self._transport is not None and (body := self._frames.take()) is not None:
                rest = self._read(body)
                if rest:
                    self._rest(rest)
                    return
        except (FrameTooLarge, msgspec.MsgspecError, UnicodeError) as error:
            log.error("executor.child_talks_nonsense", error=str(error))
            self._end(None)
        except Exception as error:  # noqa: BLE001 - whoever waits for this child's silence is told
            self._end(error)

    def _rest(self, seconds: float) -> None:
        """What comes meanwhile waits in the child."""
        self._is_resting = True
        if self._transport is not None:
            self._transport.pause_reading()
        asyncio.get_running_loop().call_later(seconds, self._wake)

    def _wake(self) -> None:
        self._is_resting = False
        self._read_on()
        if self._transport is not None and not self._is_resting and not self._transport.is_closing():
            self._transport.resume_reading()

    def _end(self, error: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_exception(error) if error is not None else self.closed.set_result(None)
        self.close()
