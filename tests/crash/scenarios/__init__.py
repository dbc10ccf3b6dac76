"""One module for each scenario: ``TITLE`` and ``run(stage)``, which fills the stage's verdict."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from crash.scenarios import c5_two_reapers
from crash.stage import Stage


class Scenario(NamedTuple):
    """A way to hurt the product, by the number of the acceptance plan."""

    title: str
    run: Callable[[Stage], Awaitable[None]]


SCENARIOS = {
    "C5": Scenario(c5_two_reapers.TITLE, c5_two_reapers.run),
}
