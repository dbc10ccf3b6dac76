"""Which provider serves a model, and under which name and price."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec

from interlock.core.errors import ErrorKind, InterlockError, not_found, rule_broken
from interlock.core.models.price_table import list_price
from interlock.core.models.prices import Price
from interlock.core.models.requests import LimitField


class Deployment(msgspec.Struct, frozen=True):
    """A model at one provider. ``upstream`` is its name there; ``price`` is None if nobody knows it.

    ``limit_field`` is the name by which it takes the limit of an answer.
    """

    provider: str
    model: str
    upstream: str
    price: Price | None
    limit_field: LimitField = "max_tokens"


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider serves. ``models`` maps our names to its own; empty: it is asked for any name."""

    provider: str
    models: Mapping[str, str] = {}
    prices: Mapping[str, Price] = {}
    default_price: Price | None = None
    limit_field: LimitField = "max_tokens"

    def deployment(self, model: str) -> Deployment | None:
        """The model here, or None."""
        if self.models and model not in self.models:
            return None
        upstream = self.models.get(model, model)
        price = self.prices.get(model) or self.prices.get(upstream) or list_price(upstream) or self.default_price
        return Deployment(self.provider, model, upstream, price, self.limit_field)


class Routes:
    """All offers of an installation, in the order of the settings."""

    def __init__(self, offers: Sequence[Offer]) -> None:
        self._offers = tuple(offers)
        self._ordered = sorted(self._offers, key=lambda offer: not offer.models)

    @property
    def has_offers(self) -> bool:
        """Whether any provider serves anything, by name or by any name."""
        return bool(self._offers)

    def names(self) -> list[str]:
        """The models that providers name, in order."""
        return sorted({name for offer in self._offers for name in offer.models})

    def offered(self, allowed: Collection[str] | None = None) -> tuple[Deployment, ...]:
        """Each model with where it is asked first, in order of names: those that providers name.

        With ``allowed``: those of them that are served, by a provider that takes any name too.
        """
        names = self.names() if allowed is None else sorted(allowed)
        firsts = (next(self._serving(name), None) for name in names)
        return tuple(found for found in firsts if found is not None)

    def find(self, models: Sequence[str]) -> tuple[Deployment, ...]:
        """Where the wanted models are, best first; providers that name a model before those that take any.

        Raises LLM_NOT_CONFIGURED without any provider, MODEL_NOT_FOUND if none serves one of the models.
        """
        if not self._offers:
            message = "No model provider is configured; the operator sets INTERLOCK_MODEL_PROVIDERS"
            raise InterlockError(ErrorKind.UNAVAILABLE, "LLM_NOT_CONFIGURED", message, retry_after=60.0)
        deployments = tuple(found for model in models for found in self._serving(model))
        if not deployments:
            raise not_found("MODEL_NOT_FOUND", f"No provider serves the model {models[0][:100]}", field="model")
        return deployments

    def _serving(self, model: str) -> Iterator[Deployment]:
        for offer in self._ordered:
            found = offer.deployment(model)
            if found is not None:
                yield found


def priced(deployments: Sequence[Deployment]) -> tuple[Deployment, ...]:
    """Those whose price is known: nothing else may be paid from a budget. Raises RULE if there is none."""
    found = tuple(one for one in deployments if one.price is not None)
    if not found:
        message = f"The model {deployments[0].model[:100]} has no price, so a caller with a budget cannot use it"
        raise rule_broken("MODEL_UNPRICED", message, field="model")
    return found
