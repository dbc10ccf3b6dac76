"""The figures that must be reached, each as a factor by which Interlock beats a peer measured in the same run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

PEERS = {"dbos": "DBOS", "restate": "Restate"}


@dataclass(frozen=True)
class Goal:
    """A row of the goal table. `floor` and `goal` map a peer to the factor wanted; more is better for rates only."""

    title: str
    load: str
    figure: str
    unit: str
    more_is_better: bool
    floor: Mapping[str, float]
    goal: Mapping[str, float]

    def factor(self, ours: float, theirs: float) -> float:
        """How many times better we are."""
        return ours / theirs if self.more_is_better else theirs / ours

    def wanted(self, factors: Mapping[str, float]) -> str:
        """The factors in words, such as `<= 1/25 DBOS, <= 1/6 Restate`."""
        sign, start = (">=", "") if self.more_is_better else ("<=", "1/")
        end = " x" if self.more_is_better else ""
        return ", ".join(f"{sign} {start}{factor:g}{end} {PEERS[peer]}" for peer, factor in factors.items())


GOALS = (
    Goal(
        "W1 chain of 10, c=50, steps/s",
        "W1-c50",
        "steps_per_s",
        "steps/s",
        True,
        floor={"dbos": 10, "restate": 2},
        goal={"dbos": 30, "restate": 6},
    ),
    Goal(
        "W1 CPU per step, whole system, c=50",
        "W1-c50",
        "cpu_ms_per_step",
        "ms",
        False,
        floor={"dbos": 8},
        goal={"dbos": 25, "restate": 6},
    ),
    Goal("W1 c=1, p50 of 10 steps", "W1-c1", "p50_ms", "ms", False, floor={"dbos": 3}, goal={"dbos": 6, "restate": 2}),
    Goal("W1 c=500, p50", "W1-c500", "p50_ms", "ms", False, floor={"dbos": 20}, goal={"dbos": 30, "restate": 5}),
    Goal(
        "W2 1,000 parallel steps and a join, wall",
        "W2-c1",
        "p50_ms",
        "ms",
        False,
        floor={"dbos": 10},
        goal={"dbos": 20, "restate": 5},
    ),
)
