"""One module for each scenario: ``TITLE`` and ``run(stage)``, which fills the stage's verdict."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from crash.scenarios import (
    a1_kill_servers,
    a1_ray,
    a2_failpoints,
    a4_kill_in_a_loop,
    a6_between_effect_and_result,
    a8_poison,
    a9_cancel,
    a9_cancel_code,
    b1_lost_answers,
    b7_zombie,
    b9_ray,
    b13_partition,
    c3_hot_execution,
    c4_joins,
    c5_two_reapers,
    c6_race_for_an_approval,
    e8_full_queue,
)
from crash.stage import Stage


class Scenario(NamedTuple):
    """A way to hurt the product, by the number of the acceptance plan."""

    title: str
    run: Callable[[Stage], Awaitable[None]]
    needs_ray: bool = False


SCENARIOS = {
    "A1": Scenario(a1_kill_servers.TITLE, a1_kill_servers.run),
    "A1-RAY": Scenario(a1_ray.TITLE, a1_ray.run, needs_ray=True),
    "A2": Scenario(a2_failpoints.TITLE, a2_failpoints.run),
    "A4": Scenario(a4_kill_in_a_loop.TITLE, a4_kill_in_a_loop.run),
    "A6": Scenario(a6_between_effect_and_result.TITLE, a6_between_effect_and_result.run),
    "A8": Scenario(a8_poison.TITLE, a8_poison.run),
    "A8-RAY": Scenario(a8_poison.TITLE_RAY, a8_poison.run_on_ray, needs_ray=True),
    "A9": Scenario(a9_cancel.TITLE, a9_cancel.run),
    "A9-CODE": Scenario(a9_cancel_code.TITLE, a9_cancel_code.run),
    "A9-RAY": Scenario(a9_cancel_code.TITLE_RAY, a9_cancel_code.run_on_ray, needs_ray=True),
    "B1": Scenario(b1_lost_answers.TITLE, b1_lost_answers.run),
    "B7": Scenario(b7_zombie.TITLE, b7_zombie.run),
    "B9": Scenario(b9_ray.TITLE, b9_ray.run, needs_ray=True),
    "B13": Scenario(b13_partition.TITLE, b13_partition.run),
    "C3": Scenario(c3_hot_execution.TITLE, c3_hot_execution.run),
    "C4": Scenario(c4_joins.TITLE, c4_joins.run),
    "C5": Scenario(c5_two_reapers.TITLE, c5_two_reapers.run),
    "C6": Scenario(c6_race_for_an_approval.TITLE, c6_race_for_an_approval.run),
    "E8": Scenario(e8_full_queue.TITLE, e8_full_queue.run),
}
