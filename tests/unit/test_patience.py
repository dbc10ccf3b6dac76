"""A burst is borne, a crowd that stays is not; a moment without lines ends none, and short lines add up to none."""

from __future__ import annotations

from interlock.doors.http.plumbing.patience import BURST_SECONDS, CALM_SECONDS, Patience

SHORT = 0.1


def crowded_at(now: float) -> Patience:
    """A place that has had lines for long, and has them now."""
    patience = Patience(SHORT)
    patience.note_lines(now - 60)
    return patience


def test_lines_are_a_burst_first_and_then_a_crowd() -> None:
    patience = Patience(SHORT)
    patience.note_lines(1000.0)
    assert patience.seconds(1000.0 + BURST_SECONDS - 0.01) == BURST_SECONDS
    assert patience.seconds(1000.0 + BURST_SECONDS) == SHORT
    assert patience.is_crowd(1000.0 + BURST_SECONDS)


def test_a_moment_without_lines_does_not_end_a_crowd_and_a_calm_does() -> None:
    patience = crowded_at(1000.0)
    patience.note_none(1000.0)
    assert patience.seconds(1000.0 + CALM_SECONDS / 2) == SHORT
    patience.note_lines(1000.0 + CALM_SECONDS / 2)
    assert patience.seconds(1001.0) == SHORT
    patience.note_none(1001.0)
    assert patience.seconds(1001.1 + CALM_SECONDS) == BURST_SECONDS


def test_lines_with_short_gaps_are_a_crowd_and_short_lines_with_gaps_are_none() -> None:
    for with_lines, is_crowd in ((0.8, True), (0.2, False)):
        patience = Patience(SHORT)
        for second in range(1000, 1060):
            patience.note_lines(second)
            patience.note_none(second + with_lines)
        assert patience.is_crowd(1060.0) is is_crowd


def test_nobody_who_comes_first_meets_a_crowd() -> None:
    assert not Patience(SHORT).is_crowd(1e9)
