"""Reading the sink's ledger: what really happened outside."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Effect:
    """One call that reached the sink. Times are wall seconds; exactly one of the last two is set once it is over."""

    execution: str
    step: str
    key: str
    ref: str
    arrived_at: float
    answered_at: float | None
    left_at: float | None


class Effects:
    """Everything the sink has seen of a set of executions."""

    def __init__(self, effects: list[Effect]) -> None:
        self.all = effects
        self.by_step: dict[tuple[str, str], list[Effect]] = defaultdict(list)
        for effect in effects:
            self.by_step[effect.execution, effect.step].append(effect)

    @staticmethod
    def read(database: Path) -> Effects:
        """The ledger as committed now."""
        connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        try:
            rows = connection.execute(
                "select execution, step, key, ref, arrived_at, answered_at, left_at from effects order by id"
            ).fetchall()
        finally:
            connection.close()
        return Effects([Effect(*row) for row in rows])

    def with_several_keys(self) -> list[str]:
        """Steps whose attempts did not all carry one and the same effect key (or carried none)."""
        return [
            f"{execution}/{step}"
            for (execution, step), calls in self.by_step.items()
            if len({call.key for call in calls}) != 1 or not calls[0].key
        ]

    def shared_keys(self) -> list[str]:
        """Effect keys that more than one step used: two effects would count as one."""
        users: dict[str, set[tuple[str, str]]] = defaultdict(set)
        for where, calls in self.by_step.items():
            for call in calls:
                users[call.key].add(where)
        return [key for key, steps in users.items() if len(steps) > 1]

    def repeats(self) -> int:
        """Calls beyond the first of each step: work that a fault made necessary again."""
        return len(self.all) - len(self.by_step)

    def attempts(self) -> dict[int, int]:
        """How many steps needed how many calls."""
        histogram: dict[int, int] = defaultdict(int)
        for calls in self.by_step.values():
            histogram[len(calls)] += 1
        return dict(sorted(histogram.items()))
