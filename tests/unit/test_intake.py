"""A turn of the loop takes up so many requests; the rest waits in lines, which are served in turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.doors.http.plumbing import patience as module
from interlock.doors.http.plumbing.intake import Intake


class Taken:
    """What was begun, in order, and whether it was said to be late."""

    def __init__(self, a_turn: int) -> None:
        self.intake = Intake(a_turn)
        self.begun: list[str] = []
        self.late: list[str] = []

    def come(self, asker: str, name: str) -> None:
        """As a connection does it."""
        if self.intake.has_room():
            self.begun.append(name)
        else:
            self.intake.postpone(asker, self._begin(name))

    def _begin(self, name: str) -> Callable[[bool], None]:
        return lambda is_late: (self.late if is_late else self.begun).append(name)


async def test_a_turn_takes_up_so_many_and_the_next_turn_goes_on() -> None:
    taken = Taken(2)
    for number in range(5):
        taken.come("a", str(number))
    assert taken.begun == ["0", "1"]
    await asyncio.sleep(0)
    assert taken.begun == ["0", "1", "2", "3"]
    await asyncio.sleep(0)
    assert taken.begun == ["0", "1", "2", "3", "4"]


async def test_nobody_passes_those_who_wait_and_a_flood_costs_another_one_turn() -> None:
    taken = Taken(2)
    for number in range(100):
        taken.come("flood", f"f{number}")
    taken.come("small", "s")
    await asyncio.sleep(0)
    assert taken.begun == ["f0", "f1", "f2", "s"]


async def test_when_all_is_taken_up_there_is_room_again() -> None:
    taken = Taken(1)
    for _ in range(3):
        taken.come("a", "x")
    for _ in range(4):
        await asyncio.sleep(0)
    assert len(taken.begun) == 3
    assert taken.intake.has_room()


async def test_what_has_waited_for_too_long_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BURST_SECONDS", -1.0)
    taken = Taken(1)
    for number in range(8):
        taken.come("a", str(number))
    for _ in range(8):
        await asyncio.sleep(0)
    assert (taken.begun, taken.late) == (["0"], ["1", "2", "3", "4", "5", "6", "7"])


async def test_in_a_crowd_the_last_come_is_taken_up_while_the_first_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "BURST_SECONDS", 0.0)
    now = 100.0
    monkeypatch.setattr(Intake, "now", lambda _: now)
    taken = Taken(1)
    for name in ("first", "old", "older"):
        taken.come("a", name)
    now = 200.0
    taken.come("a", "new")
    await asyncio.sleep(0)
    assert (taken.begun, taken.late) == (["first", "new"], ["old", "older"])


async def test_a_line_is_crowded_when_it_has_its_part_of_a_turn_and_only_in_a_crowd(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(Intake, "now", lambda _: now)
    taken = Taken(4)
    for number in range(4 + 3):
        taken.come("flood", str(number))
    assert not taken.intake.is_crowded("flood")
    now += module.BURST_SECONDS
    assert not taken.intake.is_crowded("flood"), "one less than a turn takes up"
    taken.come("flood", "7")
    assert taken.intake.is_crowded("flood")
    assert not taken.intake.is_crowded("small")
    taken.come("small", "s")
    assert not taken.intake.is_crowded("small"), "half a turn is its part"
    taken.come("small", "s")
    assert taken.intake.is_crowded("small")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 40)), max_size=12), st.integers(1, 9))
@settings(max_examples=50, deadline=None)
def test_everything_is_taken_up_once_and_of_each_in_order(arrivals: list[tuple[str, int]], a_turn: int) -> None:
    async def scenario() -> None:
        taken, expected = Taken(a_turn), []
        for asker, count in arrivals:
            for _ in range(count):
                expected.append(f"{asker}{len(expected)}")
                taken.come(asker, expected[-1])
            await asyncio.sleep(0)
        for _ in range(len(expected) + 1):
            await asyncio.sleep(0)
        assert sorted(taken.begun) == sorted(expected)
        assert not taken.late
        for asker in "abc":
            assert [name for name in taken.begun if name[0] == asker] == [n for n in expected if n[0] == asker]

    asyncio.run(scenario())
