"""What a task needs of the machine it runs on, and the place it was given."""

from __future__ import annotations

import msgspec


class Resources(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What is set aside for a task while it runs, all of it on one worker.

    ``cpu`` is cores, ``gpu`` devices or a share of one (0.5), ``memory`` and ``gpu_memory`` MiB; 0 asks for nothing.
    """

    cpu: float = 1.0
    memory: float = 0.0
    gpu: float = 0.0
    gpu_memory: float = 0.0


class Placement(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where an attempt runs, and what it has there.

    ``worker`` is the id of its machine or process, ``address`` that machine's; ``gpus`` are device numbers.
    ``clamped`` names what was cut down to the largest worker: (asked, given). Tasks that one call carries have one
    ``batch_id``.
    """

    worker: str
    address: str = ""
    gpus: tuple[int, ...] = ()
    clamped: dict[str, tuple[float, float]] = {}
    batch_id: str = ""
    batch_size: int = 0
