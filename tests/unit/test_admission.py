"""So many requests are worked on at a time, shared among those who ask; the rest waits in lines, never for too long."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.core.errors import ErrorKind, InterlockError
from interlock.doors.http.plumbing import patience as module
from interlock.doors.http.plumbing.admission import PLACES, Admission
from interlock.kit.turn import Turn, give_up

Leave = Callable[[], None]
DEADLINE = 5.0


class Door:
    """An admission, and what became of those who came."""

    def __init__(self, places: int = PLACES) -> None:
        self.admission = Admission(places, places)
        self.inside: dict[int, tuple[str, Leave]] = {}
        self.waiting: dict[int, asyncio.Task[None]] = {}
        self.order: list[str] = []
        self._number = 0

    async def come(self, asker: str, times: int = 1) -> None:
        for _ in range(times):
            self._number += 1
            self.waiting[self._number] = asyncio.create_task(self._enter(self._number, asker))
        await self.settle()

    async def _enter(self, number: int, asker: str) -> None:
        leave = await self.admission.enter(asker)
        self.inside[number] = asker, leave
        self.order.append(asker)

    async def leave(self, number: int) -> None:
        self.inside.pop(number)[1]()
        await self.settle()

    async def settle(self) -> None:
        for _ in range(4):
            await asyncio.sleep(0)
        self.waiting = {number: task for number, task in self.waiting.items() if not task.done()}

    def holders(self) -> Counter[str]:
        return Counter(asker for asker, _ in self.inside.values())

    async def close(self) -> None:
        for task in self.waiting.values():
            task.cancel()
        await asyncio.gather(*self.waiting.values(), return_exceptions=True)
        for _, leave in self.inside.values():
            leave()


async def test_somebody_alone_has_all_places_and_the_next_one_waits() -> None:
    door = Door(8)
    await door.come("a", 9)
    assert (len(door.inside), len(door.waiting)) == (8, 1)
    await door.leave(1)
    assert (len(door.inside), len(door.waiting)) == (8, 0)
    await door.close()


async def test_what_somebody_took_alone_keeps_nobody_out() -> None:
    door = Door(8)
    door.admission = Admission(8, 100)
    await door.come("flood", 150)
    assert (door.holders(), len(door.waiting)) == ({"flood": 100}, 50)
    await door.come("small", 6)
    assert door.holders() == {"flood": 100, "small": 4}, "its share, at once"
    while door.holders()["flood"] > 4:
        await door.leave(next(number for number, (asker, _) in door.inside.items() if asker == "flood"))
    assert len(door.inside) == 8
    await door.close()


async def test_a_flood_leaves_places_for_everybody_else() -> None:
    door = Door(8)
    await door.come("small")
    await door.come("flood", 1_000)
    assert door.holders() == {"small": 1, "flood": 4}
    await door.come("small", 3)
    assert door.holders() == {"small": 4, "flood": 4}, "at once, whatever the flood waits for"
    await door.close()


async def test_lines_are_served_in_turn_and_each_in_order() -> None:
    door = Door(2)
    await door.come("a", 2)
    for asker in ("flood", "flood", "flood", "b", "c"):
        await door.come(asker)
    while door.inside:
        await door.leave(next(iter(door.inside)))
    assert not door.waiting
    assert door.order[:5] == ["a", "a", "flood", "b", "c"]


async def test_whoever_only_waits_gives_its_place_up() -> None:
    admission = Admission(1, 1)
    with Turn() as first:
        first.begin(await admission.enter("a"))
        give_up()
        with Turn() as second:
            second.begin(await admission.enter("b"))
            give_up()
            give_up()
    with Turn() as third:
        third.begin(await admission.enter("c"))


async def test_a_place_is_lent_for_a_while_only() -> None:
    admission = Admission(1, 1)
    await admission.enter("slow")
    async with asyncio.timeout(DEADLINE):
        await admission.enter("next")


async def test_what_was_taken_back_and_is_still_worked_on_counts_for_somebody_alone() -> None:
    admission = Admission(2, 6)
    leaves = [await admission.enter("slow") for _ in range(6)]
    waiting = [asyncio.create_task(admission.enter("slow")) for _ in range(6)]
    async with asyncio.timeout(DEADLINE):
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.sleep(0)
    assert sum(task.done() for task in waiting) == 2, "some go on, but never all of them at once"
    for leave in leaves:
        leave()
    assert len(await asyncio.gather(*waiting)) == 6


async def test_while_the_server_is_slow_nobody_is_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    admission = Admission(1, 1)
    await admission.enter("a")
    async with asyncio.timeout(DEADLINE):
        await admission.enter("a")
    monkeypatch.setattr(module, "BURST_SECONDS", -1.0)
    waiting = asyncio.create_task(admission.enter("a"))
    await asyncio.sleep(0)
    with pytest.raises(InterlockError) as refused:
        admission.check("a")
    assert refused.value.kind is ErrorKind.UNAVAILABLE
    waiting.cancel()


async def test_whoever_would_wait_too_long_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BURST_SECONDS", -1.0)
    door = Door(1)
    await door.come("a", 2)
    with pytest.raises(InterlockError) as refused:
        door.admission.check("a")
    assert (refused.value.code, refused.value.retry_after) == ("QUEUE_FULL", 1.0)
    with pytest.raises(InterlockError):
        await door.admission.enter("a")
    await door.come("b")
    with pytest.raises(InterlockError) as busy:
        door.admission.check("b")
    assert busy.value.kind is ErrorKind.UNAVAILABLE, "it is not the fault of who has nothing under way"
    door.admission.check("c")
    door.admission.check(None)
    await door.close()


async def test_what_is_open_to_everybody_needs_no_place() -> None:
    admission = Admission(1, 1)
    await admission.enter("a")
    (await admission.enter(None))()


Step = tuple[str, int]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from("abc"), st.integers(1, 5)),
        st.tuples(st.just("leave"), st.integers(0, 9)),
        st.tuples(st.just("give up waiting"), st.integers(0, 9)),
    ),
    max_size=40,
)


@given(STEPS, st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_there_are_never_too_many_inside_and_never_somebody_waits_for_nothing(steps: list[Step], places: int) -> None:
    async def scenario() -> None:
        door = Door(places)
        for word, number in steps:
            if word in "abc":
                await door.come(word, number)
            elif word == "leave" and door.inside:
                await door.leave(list(door.inside)[number % len(door.inside)])
            elif door.waiting:
                list(door.waiting.values())[number % len(door.waiting)].cancel()
                await door.settle()
            assert len(door.inside) <= 2 * places
            assert not door.waiting or len(door.inside) >= max(1, places // 2)
        while door.inside:
            await door.leave(next(iter(door.inside)))
        assert not door.waiting
        await door.close()

    asyncio.run(scenario())
