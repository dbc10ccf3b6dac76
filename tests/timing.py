"""CPU time for tests that promise a bound: other work on the machine may disturb a measurement, never all of them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")


def least_cpu_seconds(work: Callable[[], Any], enough: float = 0.0, tries: int = 3) -> float:
    """The CPU seconds of the quickest of several tries; the first one that takes less than `enough` ends them."""
    least = float("inf")
    for _ in range(tries):
        started = time.thread_time()
        work()
        least = min(least, time.thread_time() - started)
        if least < enough:
            break
    return least


async def answer_and_cpu_seconds(ask: Callable[[], Awaitable[T]], enough: float, tries: int = 3) -> tuple[T, float]:
    """The answer and its CPU seconds; asked again while it took `enough` or more, as only true cost does every time."""
    for _ in range(tries):
        started = time.thread_time()
        answer = await ask()
        spent = time.thread_time() - started
        if spent < enough:
            break
    return answer, spent
