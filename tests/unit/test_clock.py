"""The clock that is aligned to the database: what is asked later is later, and the wall wins in the end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from interlock.kit.clock import SLEWED, SystemClock

STEPS = st.lists(st.integers(-400, 400), max_size=20)


@given(STEPS)
def test_small_corrections_never_put_what_comes_later_first(milliseconds: list[int]) -> None:
    clock, told, offset = SystemClock(), [], 0
    for step in milliseconds:
        offset = max(0, min(900, offset + step))
        clock.align(datetime.now(UTC) + timedelta(milliseconds=offset))
        told += [clock.now(), clock.now()]
    assert all(earlier < later for earlier, later in pairwise(told))


def test_a_great_step_back_is_taken_at_once() -> None:
    clock = SystemClock()
    clock.align(datetime.now(UTC) + 2 * SLEWED)
    ahead = clock.now()
    clock.align(datetime.now(UTC))
    assert clock.now() < ahead - SLEWED / 2
