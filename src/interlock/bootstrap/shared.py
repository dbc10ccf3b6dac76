"""What the processes of one installation share: hints and limits, through Redis if there is one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from interlock.backends.bus.postgres import PostgresBus
from interlock.backends.limiter.memory import MemoryLimiter
from interlock.backends.store.postgres.connection import connect_as_server
from interlock.config import Settings
from interlock.core.limits import LimitTable
from interlock.doors.cli.late import late
from interlock.doors.http.plumbing.client import ClientAddresses
from interlock.doors.http.plumbing.limits import Limits
from interlock.kit.clock import Clock
from interlock.kit.ids import Ids
from interlock.ports.bus import Bus
from interlock.ports.limiter import Limiter
from interlock.services.limits import CountRequests

if TYPE_CHECKING:
    from interlock.backends.bus import redis as redis_bus
    from interlock.backends.limiter import redis as redis_limiter
else:  # the client of Redis takes as long to load as everything else together
    redis_bus = late("interlock.backends.bus.redis")
    redis_limiter = late("interlock.backends.limiter.redis")


async def open_bus(settings: Settings, stack: AsyncExitStack, *, serve_url: str, ids: Ids) -> Bus:
    """Hints over Redis if it is configured, else over the database; ``stack`` stops it."""
    bus: Bus
    if settings.redis_url is not None:
        bus = redis_bus.RedisBus(settings.redis_url.get_secret_value(), ids)
    else:
        bus = PostgresBus(lambda: connect_as_server(serve_url))
    await bus.start()
    stack.push_async_callback(bus.stop)
    return bus


async def open_limits(
    settings: Settings, stack: AsyncExitStack, *, clock: Clock, count_replicas: Callable[[], Awaitable[int]]
) -> CountRequests:
    """The limits of this server, counted in Redis or in this process; ``stack`` stops the counting."""
    limiter: Limiter
    if settings.redis_url is not None and settings.rate_limit_storage != "memory":
        url = settings.redis_url.get_secret_value()
        limiter = redis_limiter.RedisLimiter(url, clock, count_replicas, settings.rate_limit_strategy)
    else:
        limiter = MemoryLimiter(clock, settings.rate_limit_strategy)
    stack.push_async_callback(limiter.stop)
    await limiter.start()
    return CountRequests(limit_table(settings), limiter)


def limit_table(settings: Settings) -> LimitTable:
    """The table as the operator wants it."""
    limits_public = settings.public_rate_limit_enabled
    if limits_public is None:
        limits_public = settings.profile in ("staging", "production")
    return LimitTable(settings.rate_limits, is_local=settings.local, limits_public=limits_public)


def limits_of(settings: Settings, count: CountRequests, clock: Clock) -> Limits:
    """The limits as the doors ask for them."""
    return Limits(count, clock, ClientAddresses(settings.trusted_proxies))
