"""The functions on texts. Sizes of results are known before the work is done."""

from __future__ import annotations

from typing import Any

from interlock.core.engine.expressions.errors import Fault
from interlock.core.engine.expressions.limits import Frame
from interlock.core.engine.expressions.operators import require_items
from interlock.core.engine.expressions.plain import is_list, kind_of, make_text, require_room, text_bytes, text_of


def want_text(function: str, value: Any) -> str:
    """The value, which must be a text of at most 1 MiB; the fault names the function."""
    if type(value) is str:
        require_room(text_bytes(value))
        return value
    raise Fault(f"{function}() needs text, not {kind_of(value)}", 'use str(x), or coalesce(x, "") for null')


def lower(frame: Frame, text: Any) -> str:
    """The text in lower case."""
    return make_text(frame, want_text("lower", text).lower())


def upper(frame: Frame, text: Any) -> str:
    """The text in upper case (which may be longer: ß becomes SS)."""
    return make_text(frame, want_text("upper", text).upper())


def trim(frame: Frame, text: Any) -> str:
    """The text without white space at both ends."""
    return make_text(frame, want_text("trim", text).strip())


def starts_with(_frame: Frame, text: Any, prefix: Any) -> bool:
    """Whether the text begins with the prefix."""
    return want_text("startsWith", text).startswith(want_text("startsWith", prefix))


def ends_with(_frame: Frame, text: Any, suffix: Any) -> bool:
    """Whether the text ends with the suffix."""
    return want_text("endsWith", text).endswith(want_text("endsWith", suffix))


def split(frame: Frame, text: Any, separator: Any) -> list[str]:
    """The pieces of the text between the separators."""
    whole, mark = want_text("split", text), want_text("split", separator)
    pieces = _count(frame, "split", whole, mark) + 1
    require_items(pieces)
    frame.charge(pieces + (len(whole) >> 4))
    return whole.split(mark)


def join(frame: Frame, items: Any, separator: Any = "") -> str:
    """The items as text, with the separator between them; null is empty."""
    if not is_list(items):
        raise Fault(f"join() needs a list, not {kind_of(items)}")
    mark = want_text("join", separator)
    require_items(len(items))
    frame.charge(len(items) * 2)
    size, pieces = max(len(items) - 1, 0) * len(mark), []
    for item in items:
        piece = text_of(frame, item)
        size += len(piece)
        require_room(size)
        pieces.append(piece)
    return make_text(frame, mark.join(pieces))


def replace(frame: Frame, text: Any, old: Any, new: Any) -> str:
    """The text with every occurrence of the old part replaced by the new one."""
    whole, part, other = (want_text("replace", value) for value in (text, old, new))
    found = _count(frame, "replace", whole, part)
    require_room(len(whole) + found * (len(other) - len(part)))
    return make_text(frame, whole.replace(part, other))


def _count(frame: Frame, function: str, text: str, part: str) -> int:
    if not part:
        raise Fault(f"{function}() needs a part to look for that is not empty")
    frame.charge(len(text) >> 4)
    return text.count(part)
