"""Icons, words and colours of statuses, and bars made of characters. An icon never stands without its word."""

from __future__ import annotations

from rich.text import Text

from interlock.doors.cli.texts import shown

_SIGNS: dict[str, tuple[str, str]] = {
    "pending": ("○", "dim"),
    "running": ("●", "cyan"),
    "waiting": ("◔", "yellow"),
    "retrying": ("↻", "yellow"),
    "completed": ("✓", "green"),
    "failed": ("✗", "red"),
    "skipped": ("–", "dim"),
    "stopped": ("■", "dim"),
    "new": ("○", "dim"),
    "paused": ("‖", "yellow"),
    "success": ("✓", "green"),
    "error": ("✗", "red"),
    "timeout": ("✗", "red"),
    "canceled": ("■", "dim"),
    "approved": ("✓", "green"),
    "denied": ("✗", "red"),
    "expired": ("✗", "red"),
    "cancelled": ("■", "dim"),
    "waiting_input": ("◔", "yellow"),
}


def status_text(status: str) -> Text:
    """The status as icon and word in its colour; a word that is not known stands alone."""
    icon, style = _SIGNS.get(status.lower(), ("", ""))
    word = shown(status.replace("_", " "))
    return Text(f"{icon} {word}" if icon else word, style=style)


def style_of(status: str) -> str:
    """The colour of a status."""
    return _SIGNS.get(status.lower(), ("", ""))[1]


def span_bar(begin: float, end: float, whole: float, width: int) -> str:
    """A bar from ``begin`` to ``end`` on a line of ``width`` characters for ``whole``; at least one character."""
    if whole <= 0:
        return "━"
    first = min(int(min(begin / whole, 1.0) * width), width - 1)
    last = max(round(min(end / whole, 1.0) * width), first + 1)
    return " " * first + "━" * (last - first)


def share_bar(share: float, width: int) -> str:
    """A bar of ``width`` characters filled to ``share``, from 0 to 1."""
    full = int(min(max(share, 0.0), 1.0) * width)
    return "━" * full + "╌" * (width - full)
