"""Values as text for people. Whatever comes from a server is data: it never drives the terminal it is shown on."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from interlock.kit import strict_json

_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
"""Control characters but newline and tab, and the marks that turn the direction of a text around."""


def shown(value: object) -> str:
    """``value`` as text in which every character that could steer a terminal is written as its escape."""
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", str(value))


def one_line(value: object, limit: int = 100) -> str:
    """``value`` on one line of at most ``limit`` characters, cut with an ellipsis."""
    text = " ".join(shown(value).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def as_json(value: Any, limit: int = 100) -> str:
    """``value`` as JSON on one line of at most ``limit`` characters."""
    return one_line(strict_json.encode(value).decode(), limit)


def duration(seconds: float | None) -> str:
    """A span of time as people say it: ``40 ms``, ``3.4 s``, ``2 min 05 s``, ``1 h 03 min``, ``2 d 04 h``."""
    if seconds is None:
        return ""
    seconds = max(seconds, 0.0)
    if seconds < 0.9995:
        return f"{round(seconds * 1000)} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600:02d} h"


def age(seconds: float | None) -> str:
    """A span of time in at most six characters: ``40 ms``, ``3.4 s``, ``12 min``, ``5 h``, ``2 d``."""
    if seconds is None:
        return ""
    if seconds < 59.95:
        return duration(seconds)
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 1440 else f"{minutes // 1440} d"


def size(count: int) -> str:
    """A number of bytes as people say it: ``812 B``, ``3.4 KiB``, ``12.0 MiB``."""
    if count < 1024:
        return f"{count} B"
    amount, unit = count / 1024, "KiB"
    for larger in ("MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.1f} {unit}"


def instant(at: float | None) -> str:
    """Seconds since 1970 as date and time of day in UTC."""
    return "" if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"


def time_of_day(at: float) -> str:
    """Seconds since 1970 as time of day in UTC, with milliseconds."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S.%f")[:-3]


def epoch(value: Any) -> float | None:
    """Seconds since 1970 of an instant as the doors write it: RFC 3339, or milliseconds as a number."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return value / 1000
    try:
        return datetime.fromisoformat(str(value)).timestamp()
    except ValueError:
        return None


def plural(count: int, noun: str) -> str:
    """``1 node``, ``2 nodes``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
