"""What known models cost by their providers' public lists, as they were read on a day; nobody asks the network for it.

An operator whose contract says otherwise gives own prices with the provider, and those win. A model that is neither
here nor there has no price, and is refused to whoever has a budget.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import msgspec

from interlock.core.models.prices import Price, price

VERSION = 2
"""Raised with every change of the table."""
AS_OF = date(2026, 11, 22)
"""When the sources were last compared with the table."""


class Listed(msgspec.Struct, frozen=True):
    """A price and where it was read. Of a model with several prices it is the dearest that a request here can meet."""

    price: Price
    source: str


_OPENAI = "OpenAI's price list, as two public surveys of April and June 2026 give it"
_MODEL_STUDIO = "Model Studio's billing page, international"
_THINKING = (
    "Model Studio's billing page, international; the output at the price with thinking, which was not found there"
)
_NOT_FOUND = "general knowledge; no page of the provider was at hand"

TABLE: Mapping[str, Listed] = {
    "gpt-4o": Listed(price(2.5, 10), _OPENAI),
    "gpt-4o-mini": Listed(price(0.15, 0.6), _OPENAI),
    "gpt-4.1": Listed(price(2, 8), _OPENAI),
    "gpt-4.1-mini": Listed(price(0.4, 1.6), _OPENAI),
    "gpt-4.1-nano": Listed(price(0.1, 0.4), _OPENAI),
    "text-embedding-3-small": Listed(price(0.02), _OPENAI),
    "text-embedding-3-large": Listed(price(0.13), _OPENAI),
    "qwen-max": Listed(price(1.6, 6.4), _MODEL_STUDIO),
    "qwen-plus": Listed(price(0.4, 4), _THINKING),
    "qwen-turbo": Listed(price(0.05, 0.5), _THINKING),
    "text-embedding-v4": Listed(price(0.07), _NOT_FOUND),
}


def list_price(model: str) -> Price | None:
    """The listed price of a model by its provider's name, or None."""
    found = TABLE.get(model)
    return None if found is None else found.price
