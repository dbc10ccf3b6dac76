"""Drives DBOS in its own process, its natural shape. Runs in the environment of the peer.

usage: python -m benchmarks.peers.dbos_driver URL W1|W2 DRIVERS EXECUTIONS WARM SECONDS STEPS
"""

from __future__ import annotations

import asyncio
import sys

from dbos import DBOS, DBOSConfig

from benchmarks.drive import Shape, WrongAnswer, drive


@DBOS.step()
async def step(i: int, v: int) -> dict[str, int]:
    """The trivial step: its place and the value plus one."""
    return {"i": i, "v": v + 1}


@DBOS.workflow()
async def chain(v: int, steps: int) -> dict[str, int]:
    """W1: one step after the other, each recorded before the next."""
    result = {"i": -1, "v": v}
    for i in range(steps):
        result = await step(i, result["v"])
    return result


@DBOS.workflow()
async def fan(v: int, steps: int) -> dict[str, int]:
    """W2: all but one step at once, and a last one that joins their results."""
    results = await asyncio.gather(*(step(i, v) for i in range(steps - 1)))
    return await step(steps - 1, sum(result["v"] for result in results))


async def _run_chain(steps: int) -> None:
    handle = await DBOS.start_workflow_async(chain, 1, steps)
    _check(await handle.get_result(), {"i": steps - 1, "v": steps + 1})


async def _run_fan(steps: int) -> None:
    handle = await DBOS.start_workflow_async(fan, 1, steps)
    _check(await handle.get_result(), {"i": steps - 1, "v": 2 * (steps - 1) + 1})


def _check(result: object, expected: object) -> None:
    if result != expected:
        raise WrongAnswer(f"expected {expected!r}, got {result!r}")


def main() -> None:
    """Run the load named on the command line."""
    url, workload = sys.argv[1:3]
    drivers, executions, warm = map(int, sys.argv[3:6])
    seconds, steps = float(sys.argv[6]), int(sys.argv[7])
    run = {"W1": _run_chain, "W2": _run_fan}[workload]
    DBOS(config=DBOSConfig(name="bench", system_database_url=url, log_level="ERROR", console_log_level="ERROR"))
    DBOS.launch()
    asyncio.run(drive(lambda: run(steps), Shape(drivers, executions, warm, seconds)))
    DBOS.destroy()


if __name__ == "__main__":
    main()
