"""JSON data on its way in and out: what counts as data, how big it is, and how it reads as text.

Data of the scope is trusted to stay still while it is read, not to be small, shallow or even JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Sized
from math import isfinite
from typing import Any

import msgspec

from interlock.core.engine.expressions.errors import Fault
from interlock.core.engine.expressions.limits import (
    DATA_WHOLE_MAX,
    DATA_WHOLE_MIN,
    LARGE_BYTES,
    RESULT_BYTES,
    VALUE_BYTES,
    VALUE_DEPTH,
    Frame,
)

_KINDS: dict[type, str] = {
    type(None): "null",
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    tuple: "a list",
    dict: "an object",
}
_TOO_BIG = "the value is larger than 1 MiB"
_TOO_BIG_HINT = "every value counts 8 bytes, texts and keys their length on top"
_MEASURE = msgspec.msgpack.Encoder().encode
_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False).encode


class _NotPlain(Exception):
    """A container that is neither exactly a list nor exactly a dict was met."""


def kind_of(value: Any) -> str:
    """The kind of JSON value, in words for a message; raises Fault for what is not JSON data."""
    kind = _KINDS.get(type(value))
    if kind is not None:
        return kind
    if isinstance(value, Mapping):
        return "an object"
    if is_list(value):
        return "a list"
    raise not_data(value)


def is_list(value: Any) -> bool:
    """Whether the value is read as a JSON list: any sequence but text and bytes."""
    return isinstance(value, list | tuple) or (
        isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | memoryview)
    )


def not_data(value: Any) -> Fault:
    """The fault for a value that JSON does not know; names its type only."""
    message = f"the data holds a value of type {type(value).__name__}, which is not JSON"
    return Fault(message, "hand over JSON values only")


def require_whole(value: int) -> int:
    """The whole number, if it is one that data may hold; a larger one could cost any amount of time."""
    if DATA_WHOLE_MIN <= value <= DATA_WHOLE_MAX:
        return value
    raise Fault("the data holds a whole number beyond 64 bits", "keep such numbers as text")


def require_finite(value: float) -> float:
    """The number, unless it is infinite or not a number."""
    if isfinite(value):
        return value
    raise Fault("the data holds a number that is not finite", "JSON has no NaN and no Infinity")


def settle(frame: Frame, value: Any, depth: int = 0) -> Any:
    """The value as a result: JSON of plain dicts and lists that fits into the room the frame has left.

    Plain data is returned as it is, shared with the scope; other mappings and sequences are copied.
    """
    try:
        frame.room = _weigh(value, frame.room, depth)
    except _NotPlain:
        value = _copy(frame, value, depth)
        frame.room = _weigh(value, frame.room, depth)
    return value


def pass_on(frame: Frame, value: Any) -> bool:
    """Whether the value is a large one, which is passed on as it is, shared with the scope.

    It was JSON within its bounds when it was recorded, so only its size is taken, and that without a look at each part.
    """
    if type(value) not in (list, dict, str):
        return False
    try:
        size = len(value) if type(value) is str else len(_MEASURE(value))
    except (TypeError, ValueError, OverflowError, RecursionError):
        return False  # not plain data, so it is looked at
    if size <= LARGE_BYTES:
        return False
    frame.referred -= size
    if frame.referred < 0:
        raise Fault("the large values it passes on are larger than 32 MiB", "pass on less, or in several nodes")
    return True


def text_of(frame: Frame, value: Any) -> str:
    """The value as it reads within a text: null is empty, lists and objects are compact JSON."""
    kind = type(value)
    if kind is str:
        return value  # type: ignore[no-any-return]
    if value is None:
        return ""
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        return str(require_whole(value))
    if kind is float:
        return repr(require_finite(value))
    return json_text(frame, value)


def json_text(frame: Frame, value: Any) -> str:
    """The value as compact JSON of at most 1 MiB."""
    text: str = _ENCODE(_plain(frame, value))
    return make_text(frame, text)


def parse_json(frame: Frame, text: str) -> Any:
    """The value that a JSON text holds. Strict: no NaN, no duplicate keys, no NUL, depth 64, 64-bit wholes."""
    # The structure characters bound how many values there are, so they are paid for before any is made.
    values = sum(map(text.count, ",:[{"))
    frame.charge(values + (values >> 1) + (len(text) >> 4))
    try:
        value = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_unique)
    except RecursionError:
        raise Fault(f"the JSON text is nested deeper than {VALUE_DEPTH}") from None
    except ValueError:  # also a number of thousands of digits
        raise Fault("the text is not JSON") from None
    _weigh(value, RESULT_BYTES, 0)
    return value


def make_text(frame: Frame, text: str) -> str:
    """A text that was just made, paid for and within 1 MiB."""
    require_room(len(text))
    charge_text(frame, text)
    return text


def charge_text(frame: Frame, text: str) -> None:
    """Spends the work of moving a text once; other characters than ASCII are slower and take more memory."""
    frame.charge(len(text) >> (4 if text.isascii() else 3))


def require_room(size: int) -> None:
    """Raises Fault if ``size`` bytes are more than one result may have."""
    if size > RESULT_BYTES:
        raise Fault(_TOO_BIG, _TOO_BIG_HINT)


def _plain(frame: Frame, value: Any) -> Any:
    """The value of plain dicts and lists, at most 1 MiB, paid for as work."""
    try:
        room = _weigh(value, RESULT_BYTES, 0)
    except _NotPlain:
        value = _copy(frame, value, 0)
        room = _weigh(value, RESULT_BYTES, 0)
    frame.charge(8 + (RESULT_BYTES - room) * 2 // VALUE_BYTES)
    return value


def _weigh(value: Any, room: int, depth: int) -> int:
    """The room that is left after the value, which is checked to be plain JSON on the way."""
    kind = type(value)
    room -= VALUE_BYTES
    if kind is str:
        room -= text_bytes(value)
    elif kind is dict:
        _require_depth(depth)
        for key, item in value.items():
            if type(key) is not str:
                raise _NotPlain
            room = _weigh(item, room - text_bytes(key), depth + 1)
    elif kind is list:
        _require_depth(depth)
        for item in value:
            room = _weigh(item, room, depth + 1)
    elif kind is int:
        require_whole(value)
    elif kind is float:
        require_finite(value)
    elif value is not None and kind is not bool:
        raise _NotPlain
    if room < 0:
        raise Fault(_TOO_BIG, _TOO_BIG_HINT)
    return room


def text_bytes(text: str) -> int:
    """The UTF-8 length of a text, which is checked to be one that can be stored."""
    if "\x00" in text:
        raise Fault("a text holds the character NUL")
    if text.isascii():
        return len(text)
    require_room(len(text))
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise Fault("a text is not valid Unicode") from None


def _copy(frame: Frame, value: Any, depth: int) -> Any:
    """The same JSON value of plain dicts and lists; every value is paid for, so that endless data ends."""
    frame.charge(3)
    if type(value) in (str, int, float, bool, type(None)):
        return value
    _require_depth(depth)
    require_room(len(value) * VALUE_BYTES if isinstance(value, Sized) else 0)
    if isinstance(value, Mapping):
        return {_copy_key(key): _copy(frame, value[key], depth + 1) for key in value}
    if is_list(value):
        return [_copy(frame, item, depth + 1) for item in value]
    raise not_data(value)


def _copy_key(key: Any) -> str:
    if type(key) is str:
        return key
    raise Fault(f"an object of the data has a key of type {type(key).__name__}", "keys of JSON objects are texts")


def _require_depth(depth: int) -> None:
    if depth >= VALUE_DEPTH:
        raise Fault(f"the value is nested deeper than {VALUE_DEPTH}")


def _no_constant(_word: str) -> Any:
    raise ValueError  # NaN, Infinity and -Infinity are not JSON


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise Fault("the JSON text has an object with the same key twice")
    return entries
