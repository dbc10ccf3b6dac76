"""What of this machine tasks with resources get, in this process."""

from __future__ import annotations

import math
import os

from interlock.config import Settings
from interlock.core.placing.over_ask import Policy
from interlock.core.worker import Capacity
from interlock.kit.clock import Clock
from interlock.ports.telemetry import Telemetry
from interlock.runtime.placing import Placing

LEAST_CPU = 4
_MIB = 1 << 20


def open_placing(settings: Settings, clock: Clock, telemetry: Telemetry) -> Placing:
    """The places of one process: its share of the machine, if several serve on it."""
    policy: Policy = settings.over_ask or ("clamp" if settings.local else "queue")
    return Placing(
        clock,
        telemetry,
        local=capacity_of(settings),
        policy=policy,
        waiting_cap=max(1, math.ceil(settings.waiting_tasks / settings.processes)),
    )


def capacity_of(settings: Settings) -> Capacity:
    """What this process may give to tasks: whole cores, one at least."""
    cpu = settings.task_cpu or max(LEAST_CPU, os.cpu_count() or 1)
    memory = settings.task_memory or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _MIB
    if settings.processes > 1:
        cpu = max(1, math.floor(cpu / settings.processes))
    return Capacity(cpu=cpu, memory=math.floor(memory / settings.processes))
