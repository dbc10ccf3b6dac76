"""What must not leave the server in a log line: credentials, known by value, by the name of their field, by shape."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus

GONE = "[redacted]"
LEAST_KNOWN = 8
"""A known value with fewer characters could be an ordinary word."""

MAX_TEXT = 8 * 1024
"""Characters of one text that are kept."""

TRACEBACK = "exception"
"""The field whose end says most."""

_MAX_DEPTH = 5
_MOST_NAMES = 1024
_PLAIN = frozenset({str, int, float, bool, type(None)})
_MAX_ITEMS = 100
_CUT = " …cut"
_NAMES = re.compile(
    r"(?i)(authori[sz]ation|cookie|passw|passphrase|secret|token|api[_-]?key|private[_-]?key|database_url|credential"
    r"|signature|ticket|(^|[_-])dsn$)"
)
_SHAPES = re.compile(
    r"""(?x)
    eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)*          # a JSON web token
    | \bil_[a-z]+_\w+                               # our own API keys
    | \bwhsec_[\w+/=-]+                             # signing secrets of webhooks
    | \bsk-[\w-]{16,}                               # keys of model providers
    | \b(?:AKIA|ASIA)[A-Z0-9]{16}\b                 # keys of a cloud
    | (?<=://)[^/@\s]*:[^/@\s]+(?=@)                # user and password in an address
    | \b(?:[Bb]earer|BEARER|[Bb]asic|BASIC)\s+[\w.~+/=-]{8,}   # the value of an Authorization header
    | (?<=[?&])(?i:access_token|token|ticket|api_?key|key|sig|signature|secret|password)=[^&\s"']+
    | \b(?i:password|passwd|pwd)\s*=\s*\S+          # a connection string
    | -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----[\s\S]*?(?:-----END\ [A-Z ]*PRIVATE\ KEY-----|\Z)
    """
)


# Every shape has one of these in it; most texts have none, and then nothing is looked for.
_HINTS = ("=", "@", "eyJ", "il_", "whsec_", "sk-", "AKIA", "ASIA", "-----BEGIN", "earer", "EARER", "asic", "ASIC")


class Redactor:
    """Takes credentials out of texts and records. ``known`` are values that are secrets of this server."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._known: set[str] = set()
        self._ordinary_names: set[tuple[str, ...]] = set()
        self._pattern: re.Pattern[str] | None = None
        self.learn(*known)

    def learn(self, *values: str) -> None:
        """From now on these values are taken out too, also as they stand in an address."""
        found = {value for value in values if len(value) >= LEAST_KNOWN}
        self._known |= found | {spell(value) for value in found for spell in (quote, quote_plus)}
        self._ordinary_names.clear()
        longest_first = sorted(self._known, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def text(self, text: str, *, keeps_end: bool = False) -> str:
        """The text, ``MAX_TEXT`` characters of its beginning or end, without what is or looks like a credential."""
        if self._pattern is not None:
            text = self._pattern.sub(GONE, text)  # before the cut, which could leave half of a value
        if len(text) > MAX_TEXT:
            text = _CUT + text[-MAX_TEXT:] if keeps_end else text[:MAX_TEXT] + _CUT
        return _SHAPES.sub(GONE, text) if _has_any(_HINTS, text) else text

    def record(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """All fields of a record, see ``value``; ordinary ones are looked at together, because they are so many."""
        return self.records([fields])[0]

    def records(self, records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The same for several records."""
        told = "\n".join([value for fields in records for value in fields.values() if type(value) is str])
        if len(told) > MAX_TEXT and len(records) > 1:
            middle = len(records) // 2
            return [*self.records(records[:middle]), *self.records(records[middle:])]
        is_ordinary = len(told) <= MAX_TEXT and self._is_ordinary(told)
        return [self._ordinary(fields) if is_ordinary else self._any(fields) for fields in records]

    def _is_ordinary(self, text: str) -> bool:
        return not _has_any(_HINTS, text) and not _has_any(self._known, text)

    def _ordinary(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """A record whose texts hold nothing that is looked for."""
        if self._are_ordinary(tuple(fields)) and _PLAIN.issuperset(map(type, fields.values())):
            return dict(fields)
        return self._any(fields)

    def _any(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        return {self.text(name): self.value(name, value) for name, value in fields.items()}

    def _are_ordinary(self, names: tuple[str, ...]) -> bool:
        """Whether names of fields say nothing. They are those of the code, few, and always the same."""
        if names in self._ordinary_names:
            return True
        are_ordinary = not any(map(_is_telling, names)) and self._is_ordinary("\n".join(names))
        if are_ordinary and len(self._ordinary_names) < _MOST_NAMES:
            self._ordinary_names.add(names)
        return are_ordinary

    def value(self, name: str, value: Any, depth: int = 0) -> Any:
        """A field of a record as plain data; what a telling name holds is gone, unless it is a number or nothing."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if _is_telling(name):
            return GONE
        if isinstance(value, str):
            return self.text(value, keeps_end=name == TRACEBACK)
        if depth >= _MAX_DEPTH:
            return _CUT
        if isinstance(value, dict):
            items = list(value.items())[:_MAX_ITEMS]
            return {self.text(str(key)): self.value(str(key), item, depth + 1) for key, item in items}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(name, item, depth + 1) for item in list(value)[:_MAX_ITEMS]]
        return self.text(_told(value))


@lru_cache(maxsize=1024)
def _is_telling(name: str) -> bool:
    return _NAMES.search(name) is not None


def _has_any(parts: Iterable[str], text: str) -> bool:
    """Whether one of the parts stands in the text: a search for each is much faster than one pattern for all."""
    for part in parts:  # noqa: SIM110 - any() takes four times as long
        if part in text:
            return True
    return False


def _told(value: Any) -> str:
    """What a thing says of itself; a thing that fails at that must not cost the line."""
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - any object may be in a record
        return f"<{type(value).__name__}>"
