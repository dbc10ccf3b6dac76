"""The model gateway's use cases, put together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from interlock.core.api_key import ApiKey
from interlock.core.models.routing import Routes
from interlock.kit.clock import Clock
from interlock.kit.ids import Ids
from interlock.ports.cache import Cache
from interlock.ports.models import Books, Provider
from interlock.ports.telemetry import ModelTelemetry
from interlock.services.models.attempts import Attempts
from interlock.services.models.cached import CachedAnswers
from interlock.services.models.for_tasks import CallForTasks, FindKey
from interlock.services.models.holds import Holds
from interlock.services.models.no_books import NoBooks
from interlock.services.models.once import AnswerOnce
from interlock.services.models.relay import RelayModels
from interlock.services.models.upkeep import Upkeep


@dataclass(frozen=True, slots=True)
class Models:
    """What can be done with models; ``upkeep`` must be started and stopped by who made it."""

    relay: RelayModels
    books: Books
    holds: Holds
    for_tasks: CallForTasks
    once: AnswerOnce
    cached: CachedAnswers
    upkeep: Upkeep


def build_models(
    *,
    routes: Routes,
    providers: Mapping[str, Provider],
    books: Books,
    clock: Clock,
    ids: Ids,
    find_key: FindKey | None = None,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    telemetry: ModelTelemetry | None = None,
    cache: Cache | None = None,
    cache_seconds: float = 0.0,
) -> Models:
    """The use cases over these parts. ``find_key`` knows the API keys whose budgets tasks spend; without it there are
    none. ``pause`` waits between attempts."""
    holds = Holds(books, clock, ids, telemetry, frozenset(routes.names()))
    relay = RelayModels(routes, providers, Attempts(providers, clock, pause), holds)
    once = AnswerOnce(books, ids)
    return Models(
        relay=relay,
        books=books,
        holds=holds,
        for_tasks=CallForTasks(relay, books, find_key or _no_key),
        once=once,
        cached=CachedAnswers(cache, clock, cache_seconds, telemetry),
        upkeep=Upkeep(books, holds, once),
    )


def without_providers(clock: Clock, ids: Ids) -> Models:
    """For a server that serves no models: every call of one is refused as not configured."""
    return build_models(routes=Routes(()), providers={}, books=NoBooks(), clock=clock, ids=ids)


async def _no_key(public_id: str) -> ApiKey | None:
    return None
