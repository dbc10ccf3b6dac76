"""What of this machine tasks with resources get, in this process."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

from interlock.backends.executor.ray.executor import RayExecutor
from interlock.config import Settings
from interlock.core.placing.over_ask import Policy
from interlock.core.worker import Capacity, Machine
from interlock.kit.clock import Clock
from interlock.ports.telemetry import Telemetry
from interlock.ports.workers import LOCAL_WORKER
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
        waiting_cap=max(1, math.ceil(settings.waiting_tasks / settings.processes)),
    )


def follow_nodes(placing: Placing, ray: RayExecutor, *, here: Capacity | None) -> None:
    """Place tasks on the nodes of a cluster as they come and go.

    A Ray that this server starts itself is not there before a task needs it: until a node of it is known, and after
    its last one is gone, this machine stands for it with ``here``.
    """
    if here is None:
        placing.leave_worker(LOCAL_WORKER)
    known: dict[str, Machine] = {}

    def tell(machines: Sequence[Machine]) -> None:
        now = {machine.worker_id: machine for machine in machines}
        for worker_id in known.keys() - now.keys():
            placing.leave_worker(worker_id)
        for worker_id, machine in now.items():
            if known.get(worker_id) != machine:
                placing.set_worker(worker_id, machine.capacity, address=machine.address)
        if here is not None:
            if now:
                placing.leave_worker(LOCAL_WORKER)
            else:
                placing.set_worker(LOCAL_WORKER, here)
        known.clear()
        known.update(now)

    ray.on_workers = tell


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
