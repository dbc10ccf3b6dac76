"""A burst is borne, a crowd that stays is not, and a moment without lines is no end of it."""

from __future__ import annotations

from interlock.doors.http.plumbing.patience import BURST_SECONDS, CALM_SECONDS, Patience

SHORT = 0.1


def test_lines_are_a_burst_first_and_then_a_crowd() -> None:
    patience = Patience(SHORT)
    patience.note_lines(10.0)
    assert patience.seconds(10.0 + BURST_SECONDS - 0.01) == BURST_SECONDS
    assert patience.seconds(10.0 + BURST_SECONDS) == SHORT
    assert patience.is_crowd(10.0 + BURST_SECONDS)


def test_a_moment_without_lines_does_not_end_a_crowd_and_a_calm_does() -> None:
    patience = Patience(SHORT)
    for moment in range(10):
        patience.note_lines(10.0 + moment)
        patience.note_none(10.0 + moment + 0.5)
    patience.note_lines(20.0)
    assert patience.seconds(20.0) == SHORT
    patience.note_none(20.0)
    patience.note_lines(20.0 + CALM_SECONDS)
    assert patience.seconds(20.0 + CALM_SECONDS) == BURST_SECONDS


def test_nobody_who_comes_first_meets_a_crowd() -> None:
    assert not Patience(SHORT).is_crowd(1e9)
