"""Hints between processes by Redis pub/sub. Losing Redis costs latency and nothing else."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from interlock.backends.bus.hints import unpack
from interlock.backends.bus.shared import SharedBus
from interlock.kit.ids import Ids

CHANNEL = "interlock:hints"
PING_SECONDS = 15.0
ANSWER_SECONDS = 5.0
FIRST_DELAY, LONGEST_DELAY = 0.1, 5.0

_LOST = (RedisError, OSError)  # OSError: also a timeout


class RedisBus(SharedBus):
    """Satisfies ``ports.bus.Bus`` over two connections to ``url``: one hears, one says.

    On the wire a hint stands behind the name of the process that says it, which hears itself: so it knows that hearing
    works.
    """

    def __init__(self, url: str, ids: Ids) -> None:
        super().__init__()
        self._url = url
        self._name = ids.new().hex

    async def start(self) -> None:
        """Listen, or keep trying to in the background if Redis is away."""
        self._keeper = asyncio.create_task(self._keep_connected(), name="redis-bus")
        await self._is_settled.wait()

    async def stop(self) -> None:
        """Close the connections and let everybody go who waits. Hints not sent yet are dropped."""
        if self._keeper is not None:
            await _end([self._keeper], every=1.0)
            self._keeper = None
        await self._local.stop()

    async def _keep_connected(self) -> None:
        pause = _Pause()
        while True:
            try:
                await self._work(pause.shorten)
            except _LOST as error:
                self._log.warning("bus.connection_lost", error=str(error) or type(error).__name__)
            self._is_settled.set()
            self._outbox.forget()  # they would be old news
            await asyncio.sleep(pause.next())

    async def _work(self, on_connected: Callable[[], None]) -> None:
        """Hear and say until Redis is lost; raises what lost it."""
        redis: Redis = Redis.from_url(
            self._url,
            socket_timeout=ANSWER_SECONDS,
            socket_connect_timeout=ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        heard = redis.pubsub()
        try:
            await heard.subscribe(CHANNEL)
            await _until_one_fails(self._hear(heard, on_connected), self._say(redis))
        finally:
            await heard.aclose()  # type: ignore[no-untyped-call]
            await redis.aclose()

    async def _hear(self, heard: PubSub, on_connected: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        last = loop.time()
        while loop.time() - last < PING_SECONDS + ANSWER_SECONDS:  # our own pings come back, unless nothing does
            message = await heard.get_message(timeout=ANSWER_SECONDS)
            if message is None:
                continue
            last = loop.time()
            if message["type"] == "message":
                self._on_message(message["data"])
            elif message["type"] == "subscribe":  # also after the client has connected again by itself
                on_connected()
                self._local.wake_all()  # what was said while nobody listened
                self._outbox.look()  # and what could not be said
                self._is_settled.set()
        raise TimeoutError("nothing was heard for too long")

    async def _say(self, redis: Redis) -> None:
        while True:
            try:
                texts = await self._outbox.texts(PING_SECONDS)
            except TimeoutError:  # a silent network is noticed only by asking
                await redis.publish(CHANNEL, self._name)
                continue
            for text in texts:
                await redis.publish(CHANNEL, f"{self._name} {text}")

    def _on_message(self, data: Any) -> None:
        sender, _, text = bytes(data).decode("utf-8", "replace").partition(" ")
        if sender == self._name or not text:
            return  # our own: everybody here was told; or a ping of another process
        try:
            hints = unpack(text)
        except ValueError as error:  # of a newer release, or of somebody else in this Redis
            self._log.warning("bus.unreadable_hint", error=str(error))
            return
        for hint in hints:
            self._local.heard(hint)
        if not hints:
            self._local.wake_all()


class _Pause:
    """How long to wait before the next try, seconds: longer each time, and never the same for all processes."""

    def __init__(self) -> None:
        self._delay = FIRST_DELAY

    def shorten(self) -> None:
        self._delay = FIRST_DELAY

    def next(self) -> float:
        delay, self._delay = self._delay, min(self._delay * 2, LONGEST_DELAY)
        return delay * random.uniform(0.5, 1.0)


async def _until_one_fails(*works: Any) -> None:
    """Run endless works until one of them raises; the others are cancelled, and its error goes on."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await _end(tasks, every=0.1)


async def _end(tasks: Sequence[asyncio.Task[None]], every: float) -> None:
    """Cancel tasks until they are over; the client of Redis may swallow a cancellation, so it is said again."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=every)
    await asyncio.gather(*tasks, return_exceptions=True)
