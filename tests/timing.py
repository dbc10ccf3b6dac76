"""CPU time for tests that promise a bound: other work on the machine may disturb a measurement, never all of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def least_cpu_seconds(work: Callable[[], Any], tries: int = 3) -> float:
    """The CPU seconds of the quickest of several tries."""
    return min(_cpu_seconds(work) for _ in range(tries))


def _cpu_seconds(work: Callable[[], Any]) -> float:
    started = time.thread_time()
    work()
    return time.thread_time() - started
