"""A server in small: runs one function in a pool, says so on its output, and waits to be killed.

hold_pool.py FUNCTION LOCK      (the environment must lead to the functions)
"""

from __future__ import annotations

import asyncio
import sys
from uuid import UUID

import uvloop

from conformance.executor_trial import KeptBlobs
from interlock.backends.executor.pool.executor import PoolExecutor
from interlock.nodes.testing import ScriptedEgress
from interlock.ports.node import Attempt


async def main(function: str, lock: str) -> None:
    pool = PoolExecutor("interlock.nodes:load", ScriptedEgress([]), KeptBlobs(), size=1)
    await pool.start()
    attempt = Attempt(
        execution_id=UUID(int=1),
        tenant_id="tenant",
        task_id="task",
        node_id="task",
        attempt=1,
        node_type="python",
        parameters={"function": function, "arguments": {"lock": lock}},
        timeout=60.0,
        trace_id="trace",
    )
    pool.submit(attempt, lambda execution_id, result: print(type(result).__name__, flush=True))
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))  # the loop that servers use
