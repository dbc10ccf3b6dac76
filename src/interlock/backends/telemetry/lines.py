"""One record, one line: JSON or text, at most 16 KiB, without a character that a terminal or a reader could obey."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, MutableMapping
from functools import lru_cache
from typing import Any

Record = MutableMapping[str, Any]
Render = Callable[[Record], str]

MAX_LINE = 16 * 1024
"""Bytes of a line, with its end."""

MARK = " …cut"
MARKS = {
    "request.received": "📨",
    "access.public": "🌐",
    "session.guest": "👤",
    "token.checked": "🔐",
    "auth.succeeded": "✅",
    "auth.failed": "🚫",
    "error": "❌",
    "request.completed": "📤",
}
"""What may stand before the message of an event in the text forms."""

_BASE = ("timestamp", "level", "message", "event", "logger")
_CALLSITE = ("filename", "lineno", "func_name")
_HIDDEN = frozenset({*_BASE, *_CALLSITE})
_SHORT = 256
# Control characters of both sets, the separators that some programs take for line ends, and those that turn the
# direction of writing: with them a text could pretend to be another line.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_PLAIN = re.compile(r"[^\s\"=]+")
_encode = json.JSONEncoder(default=str).encode  # made once: json.dumps with an option makes one for every call
_quote = json.JSONEncoder(ensure_ascii=False).encode


def json_line(record: Record) -> str:
    """One JSON object in ASCII; too long a record loses the ends of its longest fields and says so in ``cut``."""
    event = record.get("event", "")
    record = {**record, "message": record.get("message", event), "event": event}
    ordered = {name: record[name] for name in _BASE if name in record}
    ordered |= {name: value for name, value in record.items() if name not in _BASE and name not in _CALLSITE}
    line = _encode(ordered)
    return line if len(line) < MAX_LINE else json.dumps(_shortened(ordered))


def standard_line(record: Record, *, has_marks: bool = False) -> str:
    """``<time> - <LEVEL> - <file>:<line>:<function> - <message> key=value …``."""
    site = ":".join([str(record.get(name, "?")) for name in _CALLSITE])
    names, template = _shown(tuple(record))
    told = _message(record, has_marks=has_marks) + template % tuple([_written(record[name]) for name in names])
    return _bounded(f"{record.get('timestamp', '')} - {_level(record)} - {site} - {told}")


@lru_cache(maxsize=1024)
def _shown(names: tuple[str, ...]) -> tuple[list[str], str]:
    """The fields behind the message of a record with these fields, and the template of their values."""
    shown = [name for name in names if name not in _HIDDEN]
    if "message" in names:
        shown.insert(0, "event")
    return shown, "".join(" " + _word(name).replace("%", "%%") + "=%s" for name in shown)


def simple_line(record: Record, *, has_marks: bool = False) -> str:
    """``<LEVEL> - <message>``."""
    return _bounded(f"{_level(record)} - {_message(record, has_marks=has_marks)}")


def escaped(text: str) -> str:
    """The text with control characters written out."""
    return _CONTROL.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def _level(record: Record) -> str:
    return str(record.get("level", "")).upper()


def _message(record: Record, *, has_marks: bool) -> str:
    event = str(record.get("event", ""))
    mark = f"{MARKS[event]} " if has_marks and event in MARKS else ""
    return mark + str(record.get("message", event))


def _word(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else json.dumps(name)


def _written(value: Any) -> str:
    """A value that cannot be mistaken for another field."""
    if type(value) is int or type(value) is float:
        return repr(value)
    text = value if isinstance(value, str) else _encode(value)
    return text if text.isalnum() else _quoted(text)  # ids are all different and need no quotes


@lru_cache(maxsize=1024)
def _quoted(text: str) -> str:
    """The text in quotes, if it could be taken for something else without them."""
    return text if _PLAIN.fullmatch(text) else _quote(text)


def _bounded(line: str) -> str:
    if len(line) < MAX_LINE and line.isascii() and line.isprintable():
        return line
    line = escaped(line)
    raw = line.encode(errors="backslashreplace")
    if len(raw) < MAX_LINE:
        return raw.decode()
    return raw[: MAX_LINE - 1 - len(MARK.encode())].decode(errors="ignore") + MARK


def _shortened(record: Record) -> Record:
    """The record with its long values cut; of one with too many fields only those that all have."""
    short = {name: _cut(value) for name, value in record.items()} | {"cut": True}
    if len(json.dumps(short)) < MAX_LINE:
        return short
    return {name: value for name, value in short.items() if name in (*_BASE, "cut", "trace_id")}


def _cut(value: Any) -> Any:
    if value is None or isinstance(value, bool | float):
        return value
    text = value if isinstance(value, str) else _encode(value)
    if len(text) > _SHORT:
        return text[:_SHORT] + MARK
    return value
