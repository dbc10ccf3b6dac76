"""Requests that come at a rate of their own, whatever the answers take, and the highest rate that is sustained.

What is due is sent over at most MOST_OPEN connections; what finds none of them free is not sent. The rate grows until
p99 exceeds 250 ms or something is refused: the one before that is the knee.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

from stand import percentiles

P99_MS = 250.0
GOOD_SECONDS = 2.0
GROWTH = 1.25
LEAST = 10.0
MOST_OPEN = 1_500
A_TICK = 0.001
"""Seconds in which what is due is sent together: to wait for each start by itself costs more than to send it."""
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_LAST_CHUNK = b"\r\n0\r\n\r\n"


class Asker(asyncio.Protocol):
    """One connection that carries one request at a time. It costs next to nothing, so that the server has its core."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._buffer = b""
        self._due = 0.0
        self._transport: asyncio.Transport | None = None
        self.is_asked = self.is_spent = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    @property
    def is_leaving(self) -> bool:
        """Whether the server has closed it."""
        return self._transport is None or self._transport.is_closing()

    def begin(self, due: float) -> None:
        """Send a request that was due at a time of the loop's clock."""
        assert self._transport is not None
        self.is_asked, self._due = True, due
        self._transport.write(self._load.next_request())

    def data_received(self, data: bytes) -> None:
        if not self.is_asked:
            return  # it took too long to ask, and is told so
        self._buffer = self._buffer + data if self._buffer else data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        size = _LENGTH.search(head)
        if not end or (len(body) < int(size[1]) if size is not None else not body.endswith(_LAST_CHUNK)):
            return
        self._buffer = b""
        self.is_asked = False
        self.is_spent = size is None  # one stream for each connection, as readers have it
        self._load.note(self, int(head[9:12]), body, self._due)
        if self.is_spent:
            self.hang_up()

    def hang_up(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.forget(self)


class Load:
    """Sends one request after the other at a given rate, over as many connections as that takes."""

    def __init__(self, port: int, next_request: Callable[[], bytes]) -> None:
        self._port = port
        self.next_request = next_request
        self._idle: list[Asker] = []
        self._opening: set[asyncio.Task[None]] = set()
        self._taken: dict[int, list[float]] = {}
        self._open = self._unanswered = self._unsent = self._lost = 0
        self._reasons: Counter[str] = Counter()

    @property
    def connections(self) -> int:
        """How many are open."""
        return self._open

    async def press(self, rate: float, seconds: float) -> dict[str, Any]:
        """``rate`` requests a second for so long; what was answered, and how fast."""
        loop = asyncio.get_running_loop()
        self._taken, self._unsent, self._lost = {}, 0, 0
        self._reasons.clear()
        begun, at = loop.time(), 0.0
        while at < seconds:
            await asyncio.sleep(max(A_TICK, begun + at - loop.time()))
            while at < seconds and begun + at <= loop.time():
                self._start(begun + at)
                at += random.expovariate(rate)
        async with asyncio.timeout(60):
            while self._unanswered:
                await asyncio.sleep(0.02)
        return self._told(rate, seconds)

    async def hang_up(self) -> None:
        """Close all connections, and wait until they are closed."""
        for asker in list(self._idle):
            asker.hang_up()
        async with asyncio.timeout(60):
            while self._open:
                await asyncio.sleep(0.02)

    def _start(self, due: float) -> None:
        while self._idle and self._idle[-1].is_leaving:
            self._idle.pop()
        if self._idle:
            self._unanswered += 1
            self._idle.pop().begin(due)
        elif self._open < MOST_OPEN:
            self._open += 1
            self._unanswered += 1
            opening = asyncio.create_task(self._start_anew(due))
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)
        else:
            self._unsent += 1

    async def _start_anew(self, due: float) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, asker = await loop.create_connection(lambda: Asker(self), "127.0.0.1", self._port)
        except OSError:
            self._lost += 1
            self._open -= 1
            self._unanswered -= 1
            return
        if asker.is_leaving:
            self._lost += 1
            self._unanswered -= 1
        else:
            asker.begin(due)

    def note(self, asker: Asker, status: int, body: bytes, due: float) -> None:
        """A request was answered."""
        self._unanswered -= 1
        self._taken.setdefault(status, []).append(asyncio.get_running_loop().time() - due)
        if status != 200:
            told = json.loads(body)
            self._reasons[told.get("message") or told["detail"]] += 1  # a path of no door has a problem's words
        if not asker.is_spent:
            self._idle.append(asker)

    def forget(self, asker: Asker) -> None:
        """A connection is gone, and with it the request that had no answer yet."""
        self._open -= 1
        if asker.is_asked:
            self._unanswered -= 1
            self._lost += 1
        elif asker in self._idle:
            self._idle.remove(asker)

    def _told(self, rate: float, seconds: float) -> dict[str, Any]:
        accepted = self._taken.get(200, [])
        good = [taken for taken in accepted if taken <= GOOD_SECONDS]
        return {
            "rate": round(rate, 1),
            "statuses": {status: len(found) for status, found in sorted(self._taken.items())},
            "reasons": dict(self._reasons),
            "unsent": self._unsent,
            "lost": self._lost,
            "good_a_second": round(len(good) / seconds, 1),
            "accepted": percentiles(accepted),
            "refused": percentiles(self._taken.get(429, []) + self._taken.get(503, [])),
        }


def is_sustained(found: dict[str, Any]) -> bool:
    is_whole = set(found["statuses"]) == {200} and not found["lost"] and not found["unsent"]
    return is_whole and found["accepted"]["p99"] <= P99_MS


async def find_knee(load: Load, first: float, seconds: float) -> tuple[float, list[dict[str, Any]]]:
    """The highest rate that was sustained, and the curve up to it. A rate that is not gets a second chance."""
    curve: list[dict[str, Any]] = []
    rate, knee, misses = first, 0.0, 0
    while misses < 2:
        curve.append(await load.press(rate, seconds))
        if is_sustained(curve[-1]):
            knee, rate, misses = rate, rate * GROWTH, 0
        else:
            misses += 1
        if misses == 2 and not knee and rate > LEAST:
            rate, misses = rate / 2, 0
        await asyncio.sleep(1.0)
    return knee or rate, curve


def request_of(method: str, path: str, port: int, token: str, body: bytes | None = None) -> bytes:
    """One request as it goes over the wire."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Authorization: Bearer {token}"]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")
