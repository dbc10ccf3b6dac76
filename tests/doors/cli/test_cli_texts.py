"""How times, sizes and strange texts read on the command line."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.doors.cli.picture import begin
from interlock.doors.cli.screens import outcome_line
from interlock.doors.cli.signs import span_bar
from interlock.doors.cli.texts import age, duration, epoch, one_line, shown, size


@pytest.mark.parametrize(
    ("status", "error", "line"),
    [
        ("SUCCESS", "", "Succeeded."),
        ("ERROR", "C: m", "Failed: C: m"),
        ("TIMEOUT", "", "Ran out of time."),
        ("CANCELED", "", "Cancelled."),
        ("RUNNING", "", "Left while RUNNING."),
    ],
)
def test_the_outcome_is_one_sentence(status: str, error: str, line: str) -> None:
    picture = begin("E", "w")
    picture.status, picture.error = status, error
    assert outcome_line(picture).plain == line


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (-1, "0 ms"),
        (0.04, "40 ms"),
        (0.9996, "1.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3780, "1 h 03 min"),
        (187_200, "2 d 04 h"),
    ],
)
def test_spans_of_time_read_well(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0.04, "40 ms"),
        (59.9, "59.9 s"),
        (60, "1 min"),
        (3569, "59 min"),
        (3600, "1 h"),
        (86_000, "23 h"),
        (86_400, "1 d"),
    ],
)
def test_ages_are_short(seconds: float | None, text: str) -> None:
    assert age(seconds) == text
    assert len(text) <= 6


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (12 << 20, "12.0 MiB"), (5 << 40, "5.0 TiB")]
)
def test_sizes_read_well(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("value", "at"),
    [(None, None), (True, None), (1500, 1.5), ("1970-01-01T00:00:02Z", 2.0), ("nonsense", None)],
)
def test_instants_are_read_in_both_forms(value: Any, at: float | None) -> None:
    assert epoch(value) == at


@given(st.text())
def test_no_text_keeps_a_character_that_steers(text: str) -> None:
    safe = shown(text)
    assert all(sign in "\t\n" or sign.isprintable() or sign.isspace() or ord(sign) > 0x9F for sign in safe)
    assert "\n" not in one_line(text)
    assert len(one_line(text, 20)) <= 20


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e6), st.integers(1, 200))
def test_a_bar_stays_on_its_line_and_is_always_seen(begin_at: float, end_at: float, whole: float, width: int) -> None:
    bar = span_bar(begin_at, end_at, whole, width)
    assert 1 <= len(bar) <= width
    assert "━" in bar
