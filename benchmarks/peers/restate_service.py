"""The service Restate calls, served by one hypercorn worker. Runs in the environment of the peer."""

from __future__ import annotations

import restate
from restate import Context, Service

bench = Service("bench")


async def step(i: int, v: int) -> dict[str, int]:
    """The trivial step: its place and the value plus one."""
    return {"i": i, "v": v + 1}


@bench.handler()
async def chain(ctx: Context, steps: int) -> dict[str, int]:
    """W1: one durable step after the other."""
    result = {"i": -1, "v": 1}
    for i in range(steps):
        result = await ctx.run_typed("step", step, i=i, v=result["v"])
    return result


@bench.handler()
async def fan_runs(ctx: Context, steps: int) -> dict[str, int]:
    """W2 with steps of this invocation: all but one at once, and a last one that joins their results."""
    started = [ctx.run_typed("step", step, i=i, v=1) for i in range(steps - 1)]
    total = sum([(await one)["v"] for one in started])
    return await ctx.run_typed("join", step, i=steps - 1, v=total)


@bench.handler()
async def fan_calls(ctx: Context, steps: int) -> dict[str, int]:
    """W2 with an invocation of its own for each: all but one at once, and a last step that joins their results."""
    started = [ctx.service_call(one_call, i) for i in range(steps - 1)]
    total = sum([(await one)["v"] for one in started])
    return await ctx.run_typed("join", step, i=steps - 1, v=total)


@bench.handler()
async def one_call(ctx: Context, i: int) -> dict[str, int]:
    """The trivial step as an invocation."""
    return {"i": i, "v": 2}


app = restate.app([bench])
