"""Values as JSON that people read: what fits on a line stays on one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from interlock.doors.cli.texts import shown
from interlock.kit import strict_json

WIDTH = 90
MAX_LINES = 40


def pretty(value: Any, more: str = "--json") -> str:
    """``value`` as indented JSON (a text as it is), cut after 40 lines; ``more`` says where the rest can be seen."""
    lines = shown(value).splitlines() if isinstance(value, str) else [shown(line) for line in _lines(value, "", "", "")]
    if len(lines) > MAX_LINES:
        lines = [*lines[:MAX_LINES], f"… {len(lines) - MAX_LINES} more lines; see all with {more}"]
    return "\n".join(lines)


def _lines(value: Any, indent: str, head: str, tail: str) -> Iterator[str]:
    """The lines of one value; ``head`` is the key before it, ``tail`` the comma behind it."""
    line = f"{indent}{head}{strict_json.encode(value).decode()}{tail}"
    if len(line) <= WIDTH or not isinstance(value, dict | list) or not value:
        yield line
        return
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    yield f"{indent}{head}{opening}"
    parts = value.items() if isinstance(value, dict) else ((None, item) for item in value)
    last = len(value) - 1
    for number, (key, item) in enumerate(parts):
        name = "" if key is None else f"{strict_json.encode(str(key)).decode()}: "
        yield from _lines(item, indent + "  ", name, "," if number < last else "")
    yield f"{indent}{closing}{tail}"
