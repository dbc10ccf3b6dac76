"""How much of one tenant's work is done at a time: never more than its cap, over any number of processes."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine_house import DEADLINE, Gate, House, chain, node
from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.node_type import NodeType
from interlock.ports.engine import Standing, StartExecution
from interlock.ports.node import Attempt, Done, Services
from interlock.runtime.engine import LocalEngine
from interlock.runtime.room import share_of

CAP = 5
STARTS = 40


class Crowd:
    """A node that knows how many of it are at work at a time, in all engines; the first ones wait for all the cap."""

    type = NodeType(name="crowd", title="Crowd", description="Works for a moment.", schema={"type": "object"})

    def __init__(self) -> None:
        self.now = self.most = 0
        self.is_full = asyncio.Event()

    async def run(self, attempt: Attempt, services: Services) -> Done:
        self.now += 1
        self.most = max(self.most, self.now)
        if self.now >= CAP:
            self.is_full.set()
        try:
            await self.is_full.wait()
            await asyncio.sleep(0.01)  # so that they meet
        finally:
            self.now -= 1
        return Done(output=None)


def knows_of(engine: LocalEngine, others: int) -> bool:
    """Whether an engine has looked around since there were so many."""
    return engine.room.share in (CAP // others, -(-CAP // others))


async def taken(engine: LocalEngine, request: StartExecution) -> Standing | InterlockError:
    """How a start stands, or why it was refused."""
    try:
        return await engine.start(request)
    except InterlockError as error:
        return error


@given(st.integers(1, 50), st.sets(st.integers(1, 1_000), min_size=1, max_size=12))
def test_the_shares_of_all_processes_together_are_the_cap(cap: int, runners: set[int]) -> None:
    shares = [share_of(cap, runner_id, sorted(runners)) for runner_id in runners]
    assert sum(shares) == cap
    assert max(shares) - min(shares) <= 1


@pytest.mark.parametrize("engines", [1, 2])
async def test_a_tenant_never_has_more_at_work_than_its_cap(house: House, engines: int) -> None:
    crowd = Crowd()
    running = [await house.engine(f"e{place}", nodes=(crowd,), tenant_cap=CAP) for place in range(engines)]
    for engine in running:
        await house.until(lambda engine=engine: knows_of(engine, engines), "knowing of each other")
    workflow = await house.workflow(chain(node("c", "crowd")))
    starts = [running[n % engines].start(house.request(workflow)) for n in range(STARTS)]
    standings = await asyncio.gather(*starts)
    assert Counter(standing.status for standing in standings) == {"succeeded": STARTS}
    assert crowd.most == CAP, "all of the cap, and not more"


async def test_a_full_queue_refuses_starts_and_takes_them_again_later(house: House) -> None:
    gate = Gate()
    engine = await house.engine(nodes=(gate,), tenant_cap=1, tenant_queue=3)
    workflow = await house.workflow(chain(node("g", "gate")))
    first = await engine.start(house.request(workflow, wait=0))
    await gate.entered.wait()
    tried = [await taken(engine, house.request(workflow, wait=0)) for _ in range(6)]
    queued = [standing for standing in tried if isinstance(standing, Standing)]
    refused = [error for error in tried if isinstance(error, InterlockError)]
    assert {(error.kind, error.code, error.retry_after) for error in refused} == {
        (ErrorKind.LIMITED, "QUEUE_FULL", 1.0)
    }
    counted = len(queued) + (first.status == "queued")  # so it is if a claim was under way just then
    assert counted in (3, 4), "one more if the queue was just being counted"
    count = "select count(*) from interlock.executions"
    assert (await house.rows(count))[0][0] == 1 + len(queued), "nothing of what was refused exists"
    gate.opened.set()
    for standing in queued:
        assert (await engine.standing(standing.execution_id, DEADLINE)).status == "succeeded"

    async def takes_again() -> bool:
        return isinstance(await taken(engine, house.request(workflow)), Standing)

    await house.until(takes_again, "a start being taken again")


async def test_that_there_is_no_room_is_known_before_a_start(house: House) -> None:
    gate = Gate()
    engine = await house.engine(nodes=(gate,), tenant_cap=1, tenant_queue=2)
    workflow = await house.workflow(chain(node("g", "gate")))
    foretold = []
    for _ in range(6):
        request = house.request(workflow, wait=0)
        foretold.append(Standing if engine.refusal(request.tenant_id) is None else InterlockError)
        assert isinstance(await taken(engine, request), foretold[-1])
    assert {Standing, InterlockError} == set(foretold)
    gate.opened.set()


async def test_what_waits_begins_in_order_and_nothing_passes_it(house: House) -> None:
    gate = Gate()
    engine = await house.engine(nodes=(gate,), tenant_cap=1)
    workflow = await house.workflow(chain(node("g", "gate")))
    first = await engine.start(house.request(workflow, wait=0))
    await gate.entered.wait()
    waiting = [await engine.start(house.request(workflow, wait=0)) for _ in range(5)]
    gate.opened.set()
    late = [await engine.start(house.request(workflow, wait=0)) for _ in range(5)]
    for standing in (*waiting, *late):
        assert (await engine.standing(standing.execution_id, DEADLINE)).status == "succeeded"
    began = [attempt.execution_id for attempt in gate.attempts]
    assert began == [standing.execution_id for standing in (first, *waiting, *late)]
