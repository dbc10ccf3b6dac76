"""The model gateway's use cases, put together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from interlock.core.models.routing import Routes
from interlock.kit.clock import Clock
from interlock.kit.ids import Ids
from interlock.ports.models import Books, Provider
from interlock.services.models.attempts import Attempts
from interlock.services.models.budgets import SetBudgets
from interlock.services.models.for_tasks import CallForTasks
from interlock.services.models.holds import Holds
from interlock.services.models.no_books import NoBooks
from interlock.services.models.relay import RelayModels


@dataclass(frozen=True, slots=True)
class Models:
    """What can be done with models; ``holds`` must be started and stopped by who made it."""

    relay: RelayModels
    budgets: SetBudgets
    holds: Holds
    for_tasks: CallForTasks


def build_models(
    *,
    routes: Routes,
    providers: Mapping[str, Provider],
    books: Books,
    clock: Clock,
    ids: Ids,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Models:
    """The use cases over these parts. ``pause`` waits between attempts."""
    holds = Holds(books, clock, ids)
    relay = RelayModels(routes, providers, Attempts(providers, clock, pause), holds)
    return Models(relay, SetBudgets(books, holds, ids), holds, CallForTasks(relay, books))


def without_providers(clock: Clock, ids: Ids) -> Models:
    """For a server that serves no models: every call of one is refused as not configured."""
    return build_models(routes=Routes(()), providers={}, books=NoBooks(), clock=clock, ids=ids)
