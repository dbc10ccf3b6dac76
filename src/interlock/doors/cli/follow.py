"""Follow an execution's stream to its end, whatever becomes of connections and servers on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interlock.core.errors import ErrorKind, InterlockError
from interlock.doors.cli.facts import Fact, read_frame
from interlock.doors.cli.failures import failure
from interlock.doors.cli.late import late
from interlock.doors.cli.server import Server
from interlock.kit.clock import Clock

if TYPE_CHECKING:
    import httpx2
else:
    httpx2 = late("httpx2")

PATIENCE_SECONDS = 60.0
"""How long a server may be away before following it is given up."""

_FIRST_WAIT, _LONGEST_WAIT = 0.2, 2.0
PASSING = frozenset(
    {ErrorKind.UNAVAILABLE, ErrorKind.EXTERNAL, ErrorKind.TIMEOUT, ErrorKind.LIMITED, ErrorKind.INTERNAL}
)
"""Refusals that say nothing about the request: the same one may be answered later."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something about the connection, not about the execution."""

    text: str


class Follower:
    """One reader of one execution. ``seq`` is the number of the last fact it got; new connections go on behind it."""

    def __init__(self, server: Server, execution_id: str, clock: Clock, *, after: int = 0) -> None:
        self._server = server
        self._execution_id = execution_id
        self._clock = clock
        self.seq = after
        self._is_over = False
        self._lost_at: float | None = None  # the monotonic clock when the connection was lost
        self._wait = _FIRST_WAIT

    async def happenings(self) -> AsyncGenerator[Fact | Note]:
        """Every fact once and in order, with a note where the connection was lost and found again.

        Ends behind the last fact. Raises the server's refusal, and UNAVAILABLE when it stays away for 60 s. Whoever
        leaves before the end closes it.
        """
        while not self._is_over:
            reason = ""
            try:
                async with self._server.events(self._execution_id, self.seq) as frames:
                    if frames is None:
                        return
                    if self._lost_at is not None:
                        self._lost_at = None
                        yield Note("Connected again; nothing was missed.")
                    async for frame in frames:
                        fact = self._take(frame)
                        if fact is not None:
                            yield fact
            except httpx2.TransportError as error:
                reason = str(error) or type(error).__name__
            except InterlockError as error:
                if error.kind not in PASSING:
                    raise
                reason = error.message
            if not self._is_over:
                if self._lost_at is None:
                    self._lost_at = self._clock.monotonic()
                    yield Note(_lost(reason))
                await self._rest(reason)

    def _take(self, frame: httpx2.ServerSentEvent) -> Fact | None:
        if not frame.data:
            return None
        fact = read_frame(int(frame.id) if frame.id.isdigit() else self.seq + 1, frame.data)
        if fact.seq <= self.seq:
            return None
        self.seq = fact.seq
        self._is_over = fact.is_final
        self._wait = _FIRST_WAIT
        return fact

    async def _rest(self, reason: str) -> None:
        """Wait a little longer each time. Raises UNAVAILABLE when patience is over."""
        away = self._clock.monotonic() - (self._lost_at or 0.0)
        if away >= PATIENCE_SECONDS:
            message = f"The server at {self._server.url} has been away for {PATIENCE_SECONDS:.0f} s ({reason})"
            step = f"The execution is safe; go on with `interlock watch {self._execution_id}` when the server is back."
            raise failure(ErrorKind.UNAVAILABLE, "SERVER_AWAY", message, step)
        await asyncio.sleep(self._wait)
        self._wait = min(self._wait * 2, _LONGEST_WAIT)


def _lost(reason: str) -> str:
    why = f" ({reason})" if reason else ""
    return f"The connection was lost{why}; trying again for {PATIENCE_SECONDS:.0f} s."
