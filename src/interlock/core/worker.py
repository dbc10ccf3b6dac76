"""Workers: the machines that tasks with resources run on."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from interlock.core.resources import Resources

State = Literal["ready", "pending", "draining", "lost"]
"""``pending``: announced, and nothing runs there yet; ``draining``: gets nothing new; ``lost``: not heard of."""


class Gpu(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One device of a worker; ``memory`` is MiB."""

    number: int
    memory: float = 0.0


class Capacity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a worker has: ``cpu`` cores, ``memory`` MiB, and its devices."""

    cpu: float
    memory: float
    gpus: tuple[Gpu, ...] = ()


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """A machine that an executor can run tasks on, as that executor tells of it."""

    worker_id: str
    address: str
    capacity: Capacity


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """A worker as it stands now. ``free`` is what is not set aside, ``running`` how many tasks it has."""

    worker_id: str
    address: str
    state: State
    capacity: Capacity
    free: Resources
    running: int
    last_seen_at: datetime
