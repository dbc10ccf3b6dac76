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
        local=share_of(settings),
        whole=capacity_of(settings),
        policy=policy,
        waiting_cap=settings.waiting_tasks,
        runners=settings.processes,
    )


def capacity_of(settings: Settings) -> Capacity:
    """What this machine has for tasks with resources."""
    cpu = settings.task_cpu or max(LEAST_CPU, os.cpu_count() or 1)
    memory = settings.task_memory or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _MIB
    return Capacity(cpu=cpu, memory=math.floor(memory))


def share_of(settings: Settings) -> Capacity:
    """What of that this process gives away: whole cores where several share it, one at least."""
    whole, processes = capacity_of(settings), settings.processes
    if processes == 1:
        return whole
    return Capacity(cpu=max(1, math.floor(whole.cpu / processes)), memory=math.floor(whole.memory / processes))
