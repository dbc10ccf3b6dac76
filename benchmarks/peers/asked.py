"""How the harness asks a peer to run trivial tasks. Standard library only: it runs in a peer's environment.

harness: `batch COUNT NUMBER` or `single COUNT NUMBER`, peer: `answer NUMBER {json}`.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence

Result = dict[str, int]


def serve(batch: Callable[[int], Sequence[Result]], single: Callable[[int], Result]) -> None:
    """Answer until stdin ends. `batch(n)` runs tasks 0 to n-1 at once, `single(i)` one; each must give i + 1."""
    _check(batch(100), 100)
    _check([single(0)], 1)
    print("ready", flush=True)
    for line in sys.stdin:
        what, count, number = line.split()
        figures = _run_batch(batch, int(count)) if what == "batch" else _run_singles(single, int(count))
        print(f"answer {number} {json.dumps(figures)}", flush=True)


def _run_batch(batch: Callable[[int], Sequence[Result]], count: int) -> dict[str, float]:
    start = time.perf_counter()
    results = batch(count)
    seconds = time.perf_counter() - start
    _check(results, count)
    return {"tasks_per_s": count / seconds}


def _run_singles(single: Callable[[int], Result], count: int) -> dict[str, float]:
    seconds = []
    for number in range(count):
        start = time.perf_counter()
        result = single(number)
        seconds.append(time.perf_counter() - start)
        if result != {"n": number + 1}:
            raise SystemExit(f"a wrong result: {result}")
    return {"p50_ms": statistics.median(seconds) * 1e3}


def _check(results: Sequence[Result], count: int) -> None:
    if list(results) != [{"n": number + 1} for number in range(count)]:
        raise SystemExit(f"wrong results: {str(results)[:200]}")
