"""Reading the keys of one object: each asked for by name and kind, and the ones nobody asked for reported."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, TypeVar

from interlock.core.definition.report import Place, Report, cut, kind_of

_T = TypeVar("_T", bound=str)


class Fields:
    """One object of a source. A key with null counts as absent; what cannot be read is reported and defaulted."""

    def __init__(self, report: Report, source: dict[Any, Any], place: Place) -> None:
        self.report = report
        self._source = source
        self._asked: dict[str, None] = {}  # own spellings, in order
        self._accepted: set[str] = set()
        self.place = place

    @property
    def keys(self) -> list[str]:
        """The keys of the object that are texts and have a value."""
        return [key for key, value in self._source.items() if isinstance(key, str) and value is not None]

    def take(self, name: str, *older: str) -> tuple[Place, Any]:
        """The value under a name or one of its other spellings, and where it stands; None if absent."""
        self._asked[name] = None
        self._accepted.update((name, *older))
        given = [key for key in (name, *older) if self._source.get(key) is not None]
        if not given:
            return self.place.at(name), None
        for key in given[1:]:
            if not _is_same(self._source[given[0]], self._source[key]):
                message = f"'{given[0]}' and '{key}' mean the same and differ"
                self.report.add("KEY_CONFLICT", self.place.at(key), message, hint=f"keep '{name}' only")
        return self.place.at(given[0]), self._source[given[0]]

    def text(self, name: str, *older: str, default: str = "", required: bool = False) -> str:
        place, value = self.take(name, *older)
        if value is None and required:
            self.report.add("KEY_MISSING", place, f"'{name}' is missing", hint=f"add {name}: a text")
        elif value is not None and not isinstance(value, str):
            self._wrong(place, name, "a text", value, "write it in quotes")
        return value if isinstance(value, str) else default

    def choice(self, name: str, allowed: Collection[_T], default: _T) -> _T:
        place, value = self.take(name)
        for word in allowed:
            if value == word:
                return word
        if value is not None:
            hint = f"write one of {', '.join(allowed)}"
            self.report.add("VALUE_NOT_ALLOWED", place, f"'{name}' has an unknown value", value=value, hint=hint)
        return default

    def flag(self, name: str, *, default: bool = False) -> bool:
        place, value = self.take(name)
        if value is not None and not isinstance(value, bool):
            self._wrong(place, name, "true or false", value)
        return value if isinstance(value, bool) else default

    def whole(self, name: str, *, default: int) -> int:
        place, value = self.take(name)
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if value is not None and not is_whole:
            self._wrong(place, name, "a whole number", value)
        return value if is_whole else default

    def number(self, name: str, *older: str, default: float) -> float:
        found = self.seconds(name, *older)
        return default if found is None else found

    def seconds(self, name: str, *older: str) -> float | None:
        """A number that may be absent."""
        place, value = self.take(name, *older)
        if value is None:
            return None
        return self.read_number(value, place, name)

    def read_number(self, value: Any, place: Place, name: str) -> float | None:
        """A finite number; anything else is reported."""
        if not isinstance(value, int | float) or isinstance(value, bool) or not _is_finite(value):
            self._wrong(place, name, "a number", value, "seconds are written as a number, for example 2.5")
            return None
        return float(value)

    def mapping(self, name: str, *older: str) -> dict[str, Any]:
        """An object with text keys; empty if absent."""
        place, value = self.take(name, *older)
        if value is not None and not isinstance(value, dict):
            self._wrong(place, name, "an object", value)
        if not isinstance(value, dict):
            return {}
        foreign = [key for key in value if not isinstance(key, str)]
        if foreign:
            self._wrong(place, name, "an object whose keys are texts", foreign[0])
        return {key: item for key, item in value.items() if isinstance(key, str)}

    def items(self, name: str, *older: str) -> list[Any]:
        """A list; empty if absent."""
        place, value = self.take(name, *older)
        if value is not None and not isinstance(value, list):
            self._wrong(place, name, "a list", value)
        return value if isinstance(value, list) else []

    def texts(self, name: str, *, limit: int, is_single_allowed: bool = False) -> tuple[str, ...]:
        """A list of texts, or where allowed one text. An item that is none leaves an empty text in its place.

        Where one text is allowed the place of a list is also that of its items, as the checks cannot tell them apart.
        """
        place, value = self.take(name)
        if is_single_allowed and isinstance(value, str):
            return (value,)
        if value is not None and not isinstance(value, list):
            self._wrong(place, name, "a list of texts", value)
        if not isinstance(value, list):
            return ()
        if len(value) > limit:
            self.report.add("TOO_LARGE", place, f"'{name}' has {len(value)} items, at most {limit} are allowed")
            return ()
        for index, item in enumerate(value):
            if not isinstance(item, str):
                where = place if is_single_allowed else place.at(index)
                self._wrong(where, name, "a list of texts", item, "write it in quotes")
        return tuple(item if isinstance(item, str) else "" for item in value)

    def close(self, *, is_lenient: bool = False) -> None:
        """Report the keys that nobody asked for: as a warning if lenient, else as an error."""
        known = ", ".join(self._asked)
        for key in self._source:
            if key not in self._accepted:
                word = key if isinstance(key, str) else type(key).__name__
                hint = self.report.nearest(word, self._asked, known) or f"known: {known}"
                message = f"Unknown key '{cut(word)}'" + (" is ignored" if is_lenient else "")
                self.report.add("KEY_IGNORED" if is_lenient else "KEY_UNKNOWN", self.place.at(word), message, hint=hint)

    def _wrong(self, place: Place, name: str, wanted: str, value: Any, hint: str = "") -> None:
        message = f"'{name}' must be {wanted}, not {kind_of(value)}"
        self.report.add("TYPE_WRONG", place, message, value=value, hint=hint)


def _is_same(first: Any, second: Any) -> bool:
    """Texts and numbers are compared; two lists or objects are never worth comparing."""
    return type(first) is type(second) and isinstance(first, str | int | float) and first == second


def _is_finite(value: int | float) -> bool:
    return abs(value) < 1e300 if isinstance(value, int) else math.isfinite(value)
