"""JSON as the house accepts it: UTF-8, one meaning per text, bounded in every direction.

msgspec reads the text; what it lets through and we do not (NUL characters, duplicate keys, depth, number of keys)
is looked for afterwards, with checks that cost next to nothing while the text is ordinary.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

_CONTAINERS = frozenset((dict, list))
_PLACE_IN_MSGSPEC = re.compile(r" (?:\(byte (\d+)\)|- at `.*`)$")
_NUL_ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
# A key ends in a quote, perhaps white space, then a colon. Other texts that look so only cost the slow check.
_BEFORE_COLON = (b'"', b" ", b"\n", b"\t", b"\r")
_MAYBE_KEY_ENDS = tuple(character + b":" for character in _BEFORE_COLON)
_DIGITS = bytes.maketrans(b"123456789E", b"000000000e")
_FAR_NUMBERS = (b"e000", b"e+000", b"0" * 300)
"""How numbers look that may be out of range, with 0 for every digit."""
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_OFTEN = 32
"""Where a colon comes more often than once in so many bytes, looking at each costs more than searching for five."""


class StrictJsonError(ValueError):
    """The text is not JSON that the house accepts.

    ``reason`` is a phrase that may be shown to the sender, ``position`` the byte it is about (from 0) where that
    is known, ``too_large`` tells a body over its byte limit (HTTP 413) from all other reasons (HTTP 400).
    """

    def __init__(self, reason: str, *, position: int | None = None, too_large: bool = False) -> None:
        super().__init__(reason if position is None else f"{reason} (byte {position})")
        self.reason = reason
        self.position = position
        self.too_large = too_large


def decode(body: bytes, *, max_bytes: int = 1_048_576, max_depth: int = 64, max_keys: int = 10_000) -> Any:
    """Return the one JSON value that ``body`` holds, as dict, list, str, int, float, bool or None.

    Refused: an empty body, anything but UTF-8 without a byte order mark, trailing text, NaN, infinities and floats
    out of range, integers of more than 4,300 characters (Python writes no more digits back), NUL characters, lone
    surrogates, the same key twice in one object, more than ``max_depth`` containers inside each other, more than
    ``max_keys`` keys altogether, more than ``max_bytes`` bytes. Raises StrictJsonError and nothing else.
    """
    if len(body) > max_bytes:
        raise StrictJsonError(f"the body has {len(body)} bytes, at most {max_bytes} are allowed", too_large=True)
    value = _parse(body)
    if b"\\u0000" in body:
        _refuse_nul(body)
    keys = _count_keys(value, max_depth, body.count(b"{") + body.count(b"["))
    if keys > max_keys:
        raise StrictJsonError(f"the body has {keys} keys, at most {max_keys} are allowed")
    # As many ends of keys in the text as keys in the value means that none was overwritten.
    if _count_key_ends(body, keys) != keys:
        json.loads(body.decode(), object_pairs_hook=_refuse_duplicates)
    return value


def check(body: bytes, *, max_bytes: int, max_depth: int = 64, max_keys: int) -> None:
    """Return if ``decode`` would read ``body``. Numbers and lists of them, of whatever depth, are not read for it.

    Raises StrictJsonError as ``decode`` does.
    """
    if len(body) > max_bytes or not _has_only_plain_numbers(body, max_depth):
        decode(body, max_bytes=max_bytes, max_depth=max_depth, max_keys=max_keys)
        return
    try:
        msgspec.json.decode(body, type=msgspec.Raw)  # which looks at the grammar only
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _explain(body, error) from error


def encode(value: Any) -> bytes:
    """Return ``value`` as compact UTF-8 JSON. NaN and infinities become null, tuples and sets become arrays.

    Raises StrictJsonError for what JSON cannot hold: lone surrogates, unknown types, endless nesting, integers of
    more than 4,300 digits.
    """
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise StrictJsonError(f"the value cannot be written as JSON: {error}") from error


def read_back(value: Any, *, max_bytes: int, max_keys: int) -> Any:
    """Return ``value`` as it would be read back from JSON, if it would be equal. Raises StrictJsonError otherwise.

    Whatever only looks like JSON when written (NaN, sets, dates, keys that are numbers) is not equal to what is read.
    """
    kept = decode(encode(value), max_bytes=max_bytes, max_keys=max_keys)
    if kept != value:
        raise StrictJsonError("the value is not what is read back")
    return kept


def _has_only_plain_numbers(body: bytes, max_depth: int) -> bool:
    """Whether there are no texts, so no keys, no number that might be out of range, and not too many levels."""
    if b'"' in body:
        return False
    shape = body.translate(_DIGITS)
    if any(form in shape for form in _FAR_NUMBERS):
        return False
    brackets = body.translate(None, _NO_BRACKETS)
    for _ in range(max_depth):
        if not brackets:
            return True
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    return not brackets


def _parse(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except RecursionError as error:
        raise StrictJsonError("the body is nested too deeply") from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise _explain(body, error) from error


def _explain(body: bytes, error: Exception) -> StrictJsonError:
    """Say in our words, with a position if there is one, why msgspec refused ``body``."""
    if not body.strip(b" \t\r\n"):
        return StrictJsonError("empty body")
    if body.startswith(_BYTE_ORDER_MARKS):
        return StrictJsonError("the body begins with a byte order mark; send UTF-8 without one", position=0)
    try:
        body.decode()
    except UnicodeDecodeError as undecodable:
        return StrictJsonError("the body is not UTF-8", position=undecodable.start)
    text = str(error)
    if "truncated" in text:
        return StrictJsonError("the body ends too early, or a \\u escape is half of a surrogate pair")
    found = _PLACE_IN_MSGSPEC.search(text)
    reason = _PLACE_IN_MSGSPEC.sub("", text).replace("JSON is malformed: ", "")
    return StrictJsonError(reason[:1].lower() + reason[1:], position=int(found[1]) if found and found[1] else None)


def _refuse_nul(body: bytes) -> None:
    # The regular expression leaves out texts such as \\u0000, which are a backslash and five harmless characters.
    found = _NUL_ESCAPE.search(body)
    if found:
        raise StrictJsonError("a string contains the NUL character", position=found.end() - len(b"\\u0000"))


def _count_key_ends(body: bytes, keys: int) -> int:
    """How often the text has what every key ends in, which is at least once for each of them."""
    colons = body.count(b":")  # much the fastest thing to look for
    if colons == keys:
        return keys
    if colons > len(body) // _OFTEN:
        return sum(map(body.count, _MAYBE_KEY_ENDS))
    return sum(part.endswith(_BEFORE_COLON) for part in body.split(b":")[:-1])


def _count_keys(value: Any, max_depth: int, most: int) -> int:
    """Return the number of keys in all objects of ``value``; refuse more than ``max_depth`` levels of containers.

    There are at most ``most`` containers: once they are found, nothing is searched for more.
    """
    keys = 0
    level = [value] if type(value) in _CONTAINERS else []
    left = most - len(level)
    for _ in range(max_depth + 1):
        if not level:
            return keys
        below: list[Any] = []
        for container in level:
            items = container
            if type(container) is dict:
                keys += len(container)
                items = container.values()
            if left > len(below):
                below += [item for item in items if type(item) in _CONTAINERS]
        left -= len(below)
        level = below
    raise StrictJsonError(f"the body is nested more than {max_depth} levels deep")


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> None:
    seen = set()
    for key, _ in pairs:
        if key in seen:
            raise StrictJsonError(f"the key {key[:100]!r} appears twice in one object")
        seen.add(key)
