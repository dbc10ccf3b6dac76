"""One connection to Redis with many commands under way at once: answers come in the order of the questions.

A pool of connections would cost each request several times the work, and could run dry just when many come.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from hashlib import sha1
from typing import Any

from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError

LOST = (RedisError, OSError)  # OSError: also a timeout
"""Everything that can go wrong with a question."""

TICKS = 5
"""Into so many parts the time for an answer is cut, each of which begins when this process has come round to it."""


class Script:
    """A Lua script and the name by which Redis knows it once it has seen it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.name = sha1(text.encode(), usedforsecurity=False).hexdigest()


class Pipe:
    """Opened once; when it is lost, everybody who waits for an answer is told, and another one has to be made.

    Connecting may take four times as long as an answer: no request waits for that.

    It is lost when an answer takes longer than ``seconds``. Time that this process itself was busy does not count: an
    answer may well have come and lie unread.
    """

    def __init__(self, url: str, seconds: float) -> None:
        self._pool = ConnectionPool.from_url(
            url, socket_timeout=None, socket_connect_timeout=4 * seconds, protocol=2, retry=Retry(NoBackoff(), 0)
        )
        self._seconds = seconds
        self._connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        self._unsent: list[bytes] = []
        self._waiting: deque[tuple[asyncio.Future[Any], int]] = deque()  # and the tick at which it was asked
        self._ticks = 0
        self._timer: asyncio.TimerHandle | None = None
        self._due = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._lost: BaseException | None = None

    async def open(self) -> None:
        """Connect. Raises one of ``LOST``."""
        async with asyncio.timeout(4 * self._seconds):
            await self._connection.connect()  # type: ignore[no-untyped-call]
        self._tasks = [asyncio.create_task(self._send()), asyncio.create_task(self._receive())]

    async def close(self) -> None:
        """Disconnect; whoever waits is told."""
        self._fail(RedisConnectionError("closed"))
        self._due.set()
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._connection.disconnect(nowait=True)

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[int | str]) -> Any:
        """The script's answer: one round trip, two where Redis does not know it yet. Raises one of ``LOST``."""
        try:
            return await self._ask("EVALSHA", script.name, len(keys), *keys, *arguments)
        except NoScriptError:
            return await self._ask("EVAL", script.text, len(keys), *keys, *arguments)

    def _ask(self, *command: Any) -> asyncio.Future[Any]:
        if self._lost is not None:
            raise RedisConnectionError("lost") from self._lost
        self._unsent += self._connection.pack_command(*command)
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append((answer, self._ticks))
        self._due.set()
        if self._timer is None:
            self._wait_a_tick()
        return answer

    def _wait_a_tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._seconds / TICKS, self._tick)

    def _tick(self) -> None:
        """However late this comes, it is one tick: between two of them whatever has arrived is read."""
        self._timer = None
        self._ticks += 1
        if not self._waiting:
            return
        if self._ticks - self._waiting[0][1] > TICKS:
            self._fail(TimeoutError("no answer"))
        else:
            self._wait_a_tick()

    async def _send(self) -> None:
        """Whatever has come together since the last time leaves at once."""
        try:
            while self._lost is None:  # asked again, because the client of Redis may swallow a cancellation
                await self._due.wait()
                self._due.clear()
                unsent, self._unsent = self._unsent, []
                await self._connection.send_packed_command(b"".join(unsent), check_health=False)
        except LOST as error:
            self._fail(error)

    async def _receive(self) -> None:
        try:
            while self._lost is None:
                try:
                    answer: Any = await self._connection.read_response(disconnect_on_error=False)
                except ResponseError as error:
                    answer = error
                self._answer(answer)
        except LOST as error:
            self._fail(error)

    def _answer(self, answer: Any) -> None:
        if not self._waiting:
            raise RedisConnectionError("an answer to no question")
        waiting, _ = self._waiting.popleft()
        if waiting.done():  # nobody waits any more
            return
        if isinstance(answer, Exception):
            waiting.set_exception(answer)
        else:
            waiting.set_result(answer)

    def _fail(self, error: BaseException) -> None:
        self._lost = self._lost or error
        while self._waiting:
            self._answer(RedisConnectionError(str(error) or type(error).__name__))
