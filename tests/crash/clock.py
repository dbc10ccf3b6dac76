"""The one clock of a run: all processes are on one machine, so their wall times compare."""

from __future__ import annotations

from interlock.kit.clock import SystemClock

_CLOCK = SystemClock()


def wall() -> float:
    """Seconds since the epoch."""
    return _CLOCK.now().timestamp()


def steady() -> float:
    """Seconds that only ever grow, for durations and deadlines."""
    return _CLOCK.monotonic()


def stamp() -> str:
    """Now, as people and files write it (UTC)."""
    return _CLOCK.now().strftime("%Y-%m-%dT%H:%M:%SZ")
