"""A TCP proxy on the loopback address that hurts connections in a way that is known exactly.

Besides holding or resetting everything, it can lose one answer: the first request that contains given bytes reaches
the other side, the other side's answer arrives here, and then both connections are reset.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable

from crash.clock import steady

Upstream = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
ANSWER_GRACE = 0.02
"""Seconds to go on reading an answer before it counts as whole."""


class Loss:
    """One answer that is to be lost. ``done`` is set after both connections were reset."""

    def __init__(self, token: bytes) -> None:
        self.token = token
        self.done = asyncio.Event()
        self.swallowed = 0  # bytes of the answer that arrived here and went no further


class FaultProxy:
    """Forwards to ``upstream``. ``holds_answers`` keeps back everything that comes down, as a half-dead path does.

    While it ``is_cut`` nothing passes in either direction, and who connects hears nothing; afterwards it all goes on.
    """

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._server: asyncio.Server | None = None
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._losses: list[Loss] = []
        self.holds_answers = False
        self.is_cut = False
        self.refuses = False
        self.port = 0
        self.connections = 0
        self.accepted: list[float] = []  # when somebody connected, in steady seconds
        self.resets = 0

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close everything."""
        if self._server is not None:
            self._server.close()
        self.reset_all()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def lose_answer(self, token: bytes) -> Loss:
        """Lose the answer to the next request that contains ``token``."""
        loss = Loss(token)
        self._losses.append(loss)
        return loss

    def reset_all(self) -> None:
        """Reset every connection now."""
        for pair in list(self._pairs):
            self._reset(pair)

    def _reset(self, pair: tuple[asyncio.StreamWriter, asyncio.StreamWriter]) -> None:
        for writer in pair:
            found = writer.get_extra_info("socket")
            if found is not None and found.family in (socket.AF_INET, socket.AF_INET6):
                with contextlib.suppress(OSError):  # it may be closed already
                    found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        self.resets += 1

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.accepted.append(steady())
        await self._passable()
        if self.refuses:
            writer.transport.abort()
            return
        try:
            up_reader, up_writer = await self._upstream()
        except OSError:
            writer.transport.abort()
            return
        self.connections += 1
        pair = (writer, up_writer)
        self._pairs.add(pair)
        armed: list[Loss] = []
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._up(reader, up_writer, armed))
                both.create_task(self._down(up_reader, writer, pair, armed))
        except* (OSError, _Over):
            pass
        finally:
            self._pairs.discard(pair)
            for end in pair:
                end.transport.abort()

    async def _passable(self) -> None:
        while self.is_cut:
            await asyncio.sleep(0.02)

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, armed: list[Loss]) -> None:
        """Forward requests; a request may come in several pieces, so the end of the last piece is kept in view."""
        before = b""
        while data := await reader.read(65536):
            view = before + data
            for loss in [loss for loss in self._losses if loss.token in view]:
                self._losses.remove(loss)
                armed.append(loss)
            before = view[-256:]
            await self._passable()
            writer.write(data)
            await writer.drain()
        raise _Over

    async def _down(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        pair: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
        armed: list[Loss],
    ) -> None:
        while data := await reader.read(65536):
            while self.holds_answers:
                await asyncio.sleep(0.02)
            await self._passable()
            if armed:
                await asyncio.sleep(ANSWER_GRACE)
                self._reset(pair)
                for loss in armed:
                    loss.swallowed = len(data)
                    loss.done.set()
                raise _Over
            writer.write(data)
            await writer.drain()
        raise _Over


class _Over(Exception):
    """One side is at its end, so the other is too."""


def unix(path: str) -> Upstream:
    """An upstream behind a unix socket."""
    return lambda: asyncio.open_unix_connection(path)


def tcp(port: int) -> Upstream:
    """An upstream on a port of this machine."""
    return lambda: asyncio.open_connection("127.0.0.1", port)
