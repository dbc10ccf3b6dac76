"""The model gateway as the settings want it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import msgspec

from interlock.backends.cache.memory import MemoryCache
from interlock.backends.models.local import packages
from interlock.backends.models.local.provider import MODELS as LOCAL_MODELS
from interlock.backends.models.local.provider import NAME as LOCAL
from interlock.backends.models.local.provider import LocalProvider
from interlock.backends.models.openai_compatible.provider import OpenAICompatible
from interlock.backends.models.scripted.provider import NAME as SCRIPTED
from interlock.backends.models.scripted.provider import ScriptedProvider
from interlock.backends.store.postgres.budgets import PostgresBooks
from interlock.config import Settings
from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.models.prices import FREE, Price, price
from interlock.core.models.requests import LimitField
from interlock.core.models.routing import Offer, Routes
from interlock.doors.cli.late import late
from interlock.kit.clock import Clock
from interlock.kit.ids import Ids
from interlock.ports.cache import Cache
from interlock.ports.egress import StreamingEgress
from interlock.ports.models import Provider
from interlock.ports.telemetry import ModelTelemetry
from interlock.services.models.bundle import Models, build_models
from interlock.services.models.for_tasks import FindKey

if TYPE_CHECKING:
    from interlock.backends.cache import redis as redis_cache
else:  # the client of Redis takes as long to load as everything else together
    redis_cache = late("interlock.backends.cache.redis")

_OPENAI_HOST = "api.openai.com"
_OPENAI_NAMES = {"models": ["gpt-4o", "gpt-4o-mini", "text-embedding-3-small", "text-embedding-3-large"]}
_DASHSCOPE_NAMES = {"models": ["qwen-max", "qwen-plus", "qwen-turbo", "text-embedding-v4"]}


class _PriceEntry(msgspec.Struct, forbid_unknown_fields=True):
    """US dollars for a million tokens."""

    input: Annotated[float, msgspec.Meta(ge=0)]
    output: Annotated[float, msgspec.Meta(ge=0)] = 0.0


class _ProviderEntry(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One provider. ``models`` are names, or our names with the provider's; empty: any name.

    ``limit_field`` is what it calls the limit of an answer; left out: what OpenAI's models obey at OpenAI, and
    ``max_tokens``, which all others know, elsewhere.
    """

    base_url: str
    api_key: str = ""
    models: list[str] | dict[str, str] = []
    prices: dict[str, _PriceEntry] = {}
    batch: Annotated[int, msgspec.Meta(ge=1)] | None = None
    limit_field: LimitField | None = None


_entries = msgspec.json.Decoder(dict[str, _ProviderEntry])


async def open_models(
    settings: Settings,
    stack: AsyncExitStack,
    *,
    url: str,
    egress: StreamingEgress,
    clock: Clock,
    ids: Ids,
    find_key: FindKey,
    telemetry: ModelTelemetry | None = None,
) -> Models:
    """Models at work until ``stack`` ends it. Raises RULE for settings that cannot be used."""
    providers, offers = _open_providers(settings, stack, egress)
    books = PostgresBooks(url)
    await books.open()
    stack.push_async_callback(books.close)
    models = build_models(
        routes=Routes(offers),
        providers=providers,
        books=books,
        clock=clock,
        ids=ids,
        find_key=find_key,
        telemetry=telemetry,
        cache=_open_cache(settings, stack, clock),
        cache_seconds=settings.cache_ttl,
    )
    models.upkeep.start()
    stack.push_async_callback(models.upkeep.stop)
    return models


def model_mode(settings: Settings) -> str:
    """``offline`` if the scripted model serves or nobody does, ``real`` if providers are there or asked for."""
    return settings.mode or ("real" if settings.model_local or read_providers(settings) else "offline")


def _open_providers(
    settings: Settings, stack: AsyncExitStack, egress: StreamingEgress
) -> tuple[dict[str, Provider], list[Offer]]:
    """The providers, and what each serves, in the order in which they are asked."""
    providers: dict[str, Provider] = {}
    offers: list[Offer] = []
    if settings.mode != "offline":
        if settings.model_local:
            packages.require_installed()
            local = LocalProvider()
            stack.callback(local.close)
            providers[LOCAL] = local
            names = {name: name for name in LOCAL_MODELS}
            offers.append(Offer(provider=LOCAL, models=names, default_price=FREE))
        for name, entry in read_providers(settings).items():
            providers[name] = OpenAICompatible(name, entry.base_url, entry.api_key, egress, batch=entry.batch)
            offers.append(_offer(name, entry))
    if settings.mode == "offline" or (settings.local and settings.mode is None and not offers):
        providers[SCRIPTED] = ScriptedProvider()
        offers = [
            Offer(provider=SCRIPTED, models={SCRIPTED: SCRIPTED}, prices={SCRIPTED: FREE}),
            Offer(provider=SCRIPTED, default_price=FREE),
        ]
    return providers, offers


def _open_cache(settings: Settings, stack: AsyncExitStack, clock: Clock) -> Cache | None:
    """Where answers are kept for those who want that. Raises RULE for a Redis that is not configured."""
    backend = settings.cache_backend or ("redis" if settings.redis_url is not None else "memory")
    if backend == "none":
        return None
    if backend == "memory":
        return MemoryCache(clock)
    if settings.redis_url is None:
        raise InterlockError(
            ErrorKind.RULE,
            "SETTINGS_CACHE_BACKEND",
            "INTERLOCK_CACHE_BACKEND is redis, and there is no Redis",
            details={"next": "Set INTERLOCK_REDIS_URL, or use INTERLOCK_CACHE_BACKEND=memory."},
        )
    cache = redis_cache.RedisCache(settings.redis_url.get_secret_value())
    stack.push_async_callback(cache.close)
    return cache


def read_providers(settings: Settings) -> dict[str, _ProviderEntry]:
    """The providers by name: the setting of all of them, then the two with settings of their own."""
    found: dict[str, _ProviderEntry] = {}
    if settings.model_providers is not None:
        try:
            found = _entries.decode(settings.model_providers.get_secret_value())
        except msgspec.MsgspecError as error:
            raise _unusable(str(error)) from None  # its text names the place, and never a value
    for name, key, base_url, known in (
        ("dashscope", settings.dashscope_api_key, settings.dashscope_base_url, _DASHSCOPE_NAMES),
        ("openai", settings.openai_api_key, settings.openai_base_url, _OPENAI_NAMES),
    ):
        if key is not None and name not in found:
            found[name] = _ProviderEntry(base_url=base_url, api_key=key.get_secret_value(), models=known["models"])
    for name, entry in found.items():
        if not entry.base_url.startswith(("https://", "http://")):
            raise _unusable(f"the base_url of {name} must begin with https:// or http://")
    return found


def _offer(name: str, entry: _ProviderEntry) -> Offer:
    models = entry.models if isinstance(entry.models, dict) else {model: model for model in entry.models}
    prices: dict[str, Price] = {model: price(one.input, one.output) for model, one in entry.prices.items()}
    at_openai = urlsplit(entry.base_url).hostname == _OPENAI_HOST
    limit_field = entry.limit_field or ("max_completion_tokens" if at_openai else "max_tokens")
    return Offer(provider=name, models=models, prices=prices, limit_field=limit_field)


def _unusable(reason: str) -> InterlockError:
    return InterlockError(
        ErrorKind.RULE,
        "SETTINGS_MODEL_PROVIDERS",
        f"INTERLOCK_MODEL_PROVIDERS cannot be used: {reason}",
        details={"next": 'Write it like {"name": {"base_url": "https://…/v1", "api_key": "…", "models": ["…"]}}.'},
    )
