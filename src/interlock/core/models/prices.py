"""What tokens cost. Money is whole nanodollars: a billion of them are one US dollar."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

NANODOLLARS = 1_000_000_000
"""Of one US dollar."""


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
