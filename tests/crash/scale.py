"""How much of everything: one minute for the ordinary tests, about ten for ``make crash``, and the promised counts."""

from __future__ import annotations

import msgspec


class Scale(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of each scenario. Times are seconds, rates are starts a second."""

    name: str
    scenarios: tuple[str, ...]
    a1_seconds: float
    a1_rate: float
    a1_families: float
    a1_sessions: float
    a1_runs: float
    a1_ray_seconds: float
    a1_least_kills: int
    a2_sleep: float
    a2_together: int
    a2_commits: int
    a4_every: int
    a6_trials: int
    a8_poison: int
    a8_normal: int
    a9_cancels: int
    b1_losses: int
    b7_freezes: int
    b13_seconds: float
    b13_flaps: int
    c3_signals: int
    c3_crossings: int
    c4_joins: int
    c4_held: int  # percent of them whose parents are calls of their own
    c5_rounds: int
    c6_races: int
    e8_starts: int
    e8_cap: int


MAKE = Scale(
    name="make",
    scenarios=(
        "A1",
        "A1-RAY",
        "A2",
        "A4",
        "A6",
        "A8",
        "A8-RAY",
        "A9",
        "A9-CODE",
        "A9-RAY",
        "B1",
        "B7",
        "B9",
        "B13",
        "C3",
        "C4",
        "C5",
        "C6",
        "E8",
    ),
    a1_seconds=90.0,
    a1_rate=8.0,
    a1_families=2.0,
    a1_sessions=2.0,
    a1_runs=1.0,
    a1_ray_seconds=30.0,
    a1_least_kills=10,
    a2_sleep=8.0,
    a2_together=3,
    a2_commits=10,
    a4_every=12,
    a6_trials=12,
    a8_poison=10,
    a8_normal=240,
    a9_cancels=60,
    b1_losses=40,
    b7_freezes=3,
    b13_seconds=30.0,
    b13_flaps=5,
    c3_signals=2_000,
    c3_crossings=150,
    c4_joins=100,
    c4_held=30,
    c5_rounds=200,
    c6_races=100,
    e8_starts=8_000,
    e8_cap=2_000,
)

SHORT = msgspec.structs.replace(
    MAKE,
    name="short",
    scenarios=("A1", "A6", "C6"),
    a1_seconds=19.0,
    a1_rate=5.0,
    a1_families=2.0,
    a1_sessions=1.5,
    a1_runs=0.7,
    a1_least_kills=2,
    a6_trials=3,
    c6_races=20,
)

FULL = msgspec.structs.replace(
    MAKE,
    name="full",
    a1_seconds=600.0,
    a1_rate=12.0,
    a1_families=3.0,
    a1_sessions=3.0,
    a1_runs=1.2,
    a1_ray_seconds=300.0,
    a1_least_kills=70,
    a2_sleep=20.0,
    a2_together=1,
    a4_every=1,
    a6_trials=200,
    a8_poison=20,
    a8_normal=528,
    a9_cancels=400,
    b1_losses=300,
    b7_freezes=100,
    b13_flaps=100,
    c3_signals=20_000,
    c3_crossings=1_000,
    c4_held=100,
    c5_rounds=500,
    c6_races=1_000,
    e8_starts=100_000,
    e8_cap=10_000,
)

SCALES = {scale.name: scale for scale in (SHORT, MAKE, FULL)}
