"""What becomes of a task that asks for more than any worker has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from interlock.core.placing.amounts import NAMES, Amounts, plain
from interlock.core.placing.machine import Machine

Policy = Literal["clamp", "queue", "reject"]
"""Cut it down to the largest worker, let it wait for a worker that has it, or refuse it at the start."""

_STRICTNESS: tuple[Policy, ...] = ("clamp", "queue", "reject")


class Fitted(msgspec.Struct, frozen=True):
    """What a task gets set aside, and what of its wish was cut down: (asked, given)."""

    ask: Amounts
    clamped: dict[str, tuple[float, float]] = {}


def stricter(one: Policy, other: Policy | None) -> Policy:
    """The stricter of two; None asks for nothing."""
    return one if other is None else max(one, other, key=_STRICTNESS.index)


def fit(ask: Amounts, policy: Policy, machines: Iterable[Machine]) -> Fitted | None:
    """What to look for on these machines; None if none of them could ever give it."""
    machines = list(machines)
    if any(machine.could_hold(ask) for machine in machines):
        return Fitted(ask)
    if policy != "clamp":
        return None
    most = max((machine.most(ask) for machine in machines), key=lambda found: _share(ask, found), default=None)
    if most is None or not most.cpu:
        return None
    return Fitted(most, clamped_of(ask, most))


def clamped_of(ask: Amounts, most: Amounts) -> dict[str, tuple[float, float]]:
    """What is less than asked for, by name."""
    pairs = zip(NAMES, ask, most, strict=True)
    return {name: (plain(asked), plain(there)) for name, asked, there in pairs if there < asked}


def _share(ask: Amounts, most: Amounts) -> float:
    """How much of a wish a machine grants, as a sum of parts."""
    return sum(there / asked for asked, there in zip(ask, most, strict=True) if asked)
