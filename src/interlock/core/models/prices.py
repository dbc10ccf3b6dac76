"""What tokens cost. Money is whole nanodollars: a billion of them are one US dollar."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

NANODOLLARS = 1_000_000_000
"""Of one US dollar."""
TABLE_VERSION = 1
"""Raised with every change of the table below."""


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one call. ``is_estimated``: the provider did not tell, so they were counted here."""

    input_tokens: int = 0
    output_tokens: int = 0
    is_estimated: bool = False


def total(used: Iterable[Usage]) -> Usage:
    """Several calls as one."""
    whole = Usage()
    for one in used:
        whole = Usage(
            whole.input_tokens + one.input_tokens,
            whole.output_tokens + one.output_tokens,
            whole.is_estimated or one.is_estimated,
        )
    return whole


class Price(msgspec.Struct, frozen=True):
    """Nanodollars for a million tokens."""

    input: int
    output: int = 0

    def cost(self, usage: Usage) -> int:
        """Nanodollars of a call, rounded up."""
        whole = usage.input_tokens * self.input + usage.output_tokens * self.output
        return -(-whole // 1_000_000)


FREE = Price(0, 0)


def dollars(amount: float) -> int:
    """Nanodollars of US dollars."""
    return round(amount * NANODOLLARS)


def price(input: float, output: float = 0.0) -> Price:  # noqa: A002 - what is paid for is called so everywhere
    """From US dollars for a million tokens."""
    return Price(dollars(input), dollars(output))


LIST_PRICES: Mapping[str, Price] = {
    "gpt-4o": price(2.5, 10),
    "gpt-4o-mini": price(0.15, 0.6),
    "gpt-4.1": price(2, 8),
    "gpt-4.1-mini": price(0.4, 1.6),
    "gpt-4.1-nano": price(0.1, 0.4),
    "text-embedding-3-small": price(0.02),
    "text-embedding-3-large": price(0.13),
    "qwen-max": price(1.6, 6.4),
    "qwen-plus": price(0.4, 1.2),
    "qwen-turbo": price(0.05, 0.2),
    "text-embedding-v4": price(0.07),
}
"""List prices of known models. What the operator gives with a provider wins; a model in neither has no price."""
