"""Calls whose caller leaves: they end, whenever that is, and only if nobody comes back."""

from __future__ import annotations

import asyncio
import copy
import pickle
import textwrap
from typing import Any

import cloudpickle
import pytest

from doors.conftest import House
from interlock.core.principal import Principal, Scope
from interlock.ports.engine import Key, Standing, StartExecution
from interlock.services.drafts.call import CallTasks, CallWish
from interlock.services.drafts.tasks import TaskWish

SOON = 10.0
SLOW = "def f():\n    import time\n    time.sleep(30)"


class Held:
    """The engine, whose starts are answered late."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.begun, self.may_answer = asyncio.Event(), asyncio.Event()
        self.started: Standing | None = None

    async def start(self, request: StartExecution) -> Standing:
        self.started = await self._engine.start(request)
        self.begun.set()
        await self.may_answer.wait()
        return self.started

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


@pytest.fixture
async def calls(house: House) -> CallTasks:
    return copy.copy(house.services.drafts.call)


@pytest.fixture
def ann(house: House) -> Principal:
    return Principal("ann", f"t-{house.ids.new().hex}", frozenset(Scope))


async def wish_of(house: House, ann: Principal, key: str | None) -> CallWish:
    space: dict[str, Any] = {}
    exec(textwrap.dedent(SLOW), space)
    draft = str(await house.services.drafts.create(ann, "calls"))
    task = TaskWish(form="pickle", content=cloudpickle.dumps(space["f"]), name="f")
    return CallWish(
        draft_id=draft,
        task_id=await house.services.drafts.add_task.callable(ann, draft, task),
        args=pickle.dumps(()),
        kwargs=pickle.dumps({}),
        trace_id="0" * 32,
        key=None if key is None else Key("tests", key, "d"),
    )


async def until_cancelled(house: House, ann: Principal, standing: Standing | None) -> None:
    assert standing is not None
    async with asyncio.timeout(SOON):
        while (await house.services.read_executions.get(ann, standing.execution_id)).status != "cancelled":
            pass


@pytest.mark.parametrize("key", [None, "k"])
async def test_who_leaves_while_it_is_started_leaves_nothing_behind(
    house: House, calls: CallTasks, ann: Principal, key: str | None
) -> None:
    calls._engine = held = Held(calls._engine)
    calls._grace = 0.01
    calling = asyncio.create_task(calls(ann, await wish_of(house, ann, key)))
    await held.begun.wait()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    held.may_answer.set()
    await until_cancelled(house, ann, held.started)


async def test_a_call_under_a_key_ends_if_nobody_comes_back(house: House, calls: CallTasks, ann: Principal) -> None:
    calls._engine = held = Held(calls._engine)
    calls._grace = 0.01
    held.may_answer.set()
    wish = await wish_of(house, ann, "k")
    callers = [asyncio.create_task(calls(ann, wish)) for _ in range(2)]
    async with asyncio.timeout(SOON):
        while len(calls._waiting._present) != 1 or sum(calls._waiting._present.values()) < 2:
            await asyncio.sleep(0)
    for caller in callers:
        caller.cancel()
    assert len(await asyncio.gather(*callers, return_exceptions=True)) == 2
    await until_cancelled(house, ann, held.started)
