"""Resources as whole thousandths, so that what is taken and given back adds up to the last digit."""

from __future__ import annotations

import math
from typing import NamedTuple

from interlock.core.resources import Placement, Resources

WHOLE = 1_000
"""One core, one device, one MiB."""
NAMES = ("cpu", "memory", "gpu", "gpu_memory")


class Amounts(NamedTuple):
    """Thousandths of cores, MiB, devices and MiB of devices."""

    cpu: int = 0
    memory: int = 0
    gpu: int = 0
    gpu_memory: int = 0


def wanted(resources: Resources) -> Resources:
    """What is really set aside: at least one core, a device for its memory, and more than one device only whole."""
    gpu = resources.gpu or (1.0 if resources.gpu_memory > 0 else 0.0)
    return Resources(
        cpu=max(1.0, resources.cpu),
        memory=resources.memory,
        gpu=math.ceil(gpu) if gpu > 1 else gpu,
        gpu_memory=resources.gpu_memory,
    )


def given(resources: Resources, placement: Placement) -> Resources:
    """What a task has where it runs: what it asked for, without what was cut down."""
    cut = {name: there for name, (_, there) in placement.clamped.items()}
    asked = wanted(resources)
    return Resources(**{name: cut.get(name, getattr(asked, name)) for name in NAMES})


def amounts_of(resources: Resources) -> Amounts:
    """Rounded up: a task is never given less than it asked for."""
    return Amounts(*(_up(getattr(resources, name)) for name in NAMES))


def plain(amount: int) -> float:
    """A number of cores, devices or MiB again."""
    return amount / WHOLE


def down(number: float) -> int:
    """Thousandths of what a worker has, rounded down: it never gives more than that."""
    return math.floor(round(number * WHOLE, 3))


def _up(number: float) -> int:
    return math.ceil(round(number * WHOLE, 3))
