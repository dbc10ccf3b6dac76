"""A server that fails all the time is asked now and then, and by everybody again once it answers."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from interlock.core.circuit import FAILURES, FIRST, LONGEST, PROBE_SECONDS, Circuit


def opened(now: float = 0.0) -> Circuit:
    circuit = Circuit()
    for _ in range(FAILURES):
        assert circuit.refused_for(now, 0.0) == 0
        circuit.failed(now)
    return circuit


def test_only_failures_in_a_row_count() -> None:
    circuit = Circuit()
    for _ in range(5):
        for _ in range(FAILURES - 1):
            circuit.failed(0.0)
        circuit.succeeded()
    assert circuit.refused_for(0.0, 0.5) == 0
    assert circuit.is_well


def test_an_open_circuit_lets_one_call_try_after_each_pause_and_the_pauses_double() -> None:
    circuit, now, pauses = opened(), 0.0, []
    for _ in range(8):
        wait = circuit.refused_for(now, 0.0)
        pauses.append(round(wait))
        now += wait
        assert circuit.refused_for(now, 0.0) == 0, "the one that tries"
        assert circuit.refused_for(now, 0.0) > 0, "all others"
        circuit.failed(now)
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]


def test_whoever_is_refused_is_spread_over_a_further_pause() -> None:
    circuit = opened()
    waits = [circuit.refused_for(0.0, chance / 10) for chance in range(11)]
    assert waits == sorted(waits)
    assert FIRST < waits[0] < waits[-1] <= 2 * FIRST + 0.01


def test_one_answer_closes_it() -> None:
    circuit = opened()
    assert circuit.refused_for(FIRST, 0.0) == 0
    circuit.succeeded()
    assert [circuit.refused_for(FIRST, 0.0) for _ in range(100)] == [0] * 100


def test_calls_that_were_under_way_when_it_opened_prolong_nothing() -> None:
    circuit = opened()
    for _ in range(50):
        circuit.failed(0.1)
    assert circuit.refused_for(FIRST, 0.0) == 0


def test_a_try_that_is_given_up_or_never_heard_of_again_makes_room_for_another() -> None:
    circuit = opened()
    assert circuit.refused_for(FIRST, 0.0) == 0
    circuit.left()
    assert circuit.refused_for(FIRST, 0.0) == 0
    assert circuit.refused_for(FIRST + PROBE_SECONDS, 0.0) == 0


@given(st.lists(st.tuples(st.floats(0, 2), st.floats(0, 1)), max_size=300))
def test_while_it_fails_calls_are_few_whoever_asks_how_often(steps: list[tuple[float, float]]) -> None:
    circuit, now, sent = opened(), 0.0, []
    for step, chance in steps:
        now += step
        wait = circuit.refused_for(now, chance)
        assert 0 <= wait <= 2 * LONGEST + 0.01
        if not wait:
            sent.append(now)
            circuit.failed(now)
    gaps = [later - earlier for earlier, later in pairwise(sent)]
    assert all(gap >= min(LONGEST, FIRST * 2 ** (number + 1)) - 1e-6 for number, gap in enumerate(gaps))
