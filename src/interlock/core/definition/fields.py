"""Reading the keys of one object: each asked for by name and kind, and the ones nobody asked for reported."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, TypeVar

from interlock.core.definition.report import Place, Report, cut, kind_of

_T = TypeVar("_T", bound=str)


class Fields:
    """One object of a source. A key with null counts as absent; what cannot be read is reported and defaulted.

    Names after the first are other spellings of the same key.
    """

    def __init__(self, report: Report, source: dict[Any, Any], place: Place) -> None:
        self.report = report
        self.place = place
        self._source = source
        self._asked: list[str] = []  # own spellings, in order
        self._accepted: set[str] = set()

    @property
    def keys(self) -> list[str]:
        """The keys of the object that are texts and have a value."""
        return [key for key, value in self._source.items() if isinstance(key, str) and value is not None]

    def take(self, *names: str) -> Any:
        """The value as it is; None if absent."""
        return self._find(names)[1]

    def text(self, *names: str, default: str = "", required: bool = False) -> str:
        key, value = self._find(names)
        if isinstance(value, str):
            return value
        if value is not None:
            self.wrong(self.place.at(key), f"'{key}' must be a text", value, "write it in quotes")
        elif required:
            self.missing(key, "a text")
        return default

    def choice(self, name: str, allowed: Collection[_T], default: _T) -> _T:
        value = self.take(name)
        if value is None:
            return default
        for word in allowed:
            if value == word:
                return word
        hint = f"write one of {', '.join(allowed)}"
        self.report.add("VALUE_NOT_ALLOWED", self.place.at(name), f"Unknown value of '{name}'", value=value, hint=hint)
        return default

    def flag(self, name: str, *, default: bool = False) -> bool:
        value = self.take(name)
        if isinstance(value, bool):
            return value
        if value is not None:
            self.wrong(self.place.at(name), f"'{name}' must be true or false", value)
        return default

    def whole(self, name: str, *, default: int) -> int:
        value = self.take(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if value is not None:
            self.wrong(self.place.at(name), f"'{name}' must be a whole number", value)
        return default

    def number(self, *names: str, default: float) -> float:
        """A finite number."""
        found = self.seconds(*names)
        return default if found is None else found

    def seconds(self, *names: str) -> float | None:
        """A finite number that may be absent."""
        key, value = self._find(names)
        if value is None:
            return None
        if isinstance(value, int | float) and not isinstance(value, bool) and _is_finite(value):
            return float(value)
        self.wrong(self.place.at(key), f"'{key}' must be a number", value, "times are seconds, for example 2.5")
        return None

    def amount(self, name: str, *, default: float) -> float:
        """A finite number of something."""
        value = self.take(name)
        if value is None:
            return default
        if isinstance(value, int | float) and not isinstance(value, bool) and _is_finite(value):
            return float(value)
        self.wrong(self.place.at(name), f"'{name}' must be a finite number", value)
        return default

    def mapping(self, name: str) -> dict[str, Any]:
        """An object with text keys; empty if absent."""
        value = self.take(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.wrong(self.place.at(name), f"'{name}' must be an object", value)
            return {}
        foreign = [key for key in value if not isinstance(key, str)]
        if foreign:
            self.wrong(self.place.at(name), f"The keys of '{name}' must be texts", foreign[0])
        return {key: item for key, item in value.items() if isinstance(key, str)} if foreign else value

    def items(self, name: str) -> list[Any]:
        """A list; empty if absent."""
        value = self.take(name)
        if value is not None and not isinstance(value, list):
            self.wrong(self.place.at(name), f"'{name}' must be a list", value)
        return value if isinstance(value, list) else []

    def texts(self, name: str, *, limit: int, is_single_allowed: bool = False) -> tuple[str, ...]:
        """A list of texts, or where allowed one text. An item that is none leaves an empty text in its place.

        Where one text is allowed the place of a list is also that of its items, as the checks cannot tell them apart.
        """
        value = self.take(name)
        if is_single_allowed and isinstance(value, str):
            return (value,)
        if value is None:
            return ()
        place = self.place.at(name)
        if not isinstance(value, list):
            self.wrong(place, f"'{name}' must be a list of texts", value)
            return ()
        if len(value) > limit:
            self.report.add("TOO_LARGE", place, f"'{name}' has {len(value)} items, at most {limit} are allowed")
            return ()
        for index, item in enumerate(value):
            if not isinstance(item, str):
                where = place if is_single_allowed else place.at(index)
                self.wrong(where, f"'{name}' must hold texts", item, "write it in quotes")
        return tuple(item if isinstance(item, str) else "" for item in value)

    def inner(self, name: str, value: dict[str, Any] | None = None, *, node_id: str | None = None) -> Fields:
        """The object under a key, or a given one, to be read in the same way."""
        place = self.place.at(name)
        found = self.mapping(name) if value is None else value
        return Fields(self.report, found, Place(place.path, node_id or place.node_id))

    def close(self, *, is_lenient: bool = False) -> None:
        """Report the keys that nobody asked for: as a warning if lenient, else as an error."""
        if self._accepted.issuperset(self._source):
            return
        known = ", ".join(self._asked)
        for key in self._source:
            if key not in self._accepted:
                word = key if isinstance(key, str) else type(key).__name__
                hint = self.report.nearest(word, self._asked, known) or f"known: {known}"
                message = f"Unknown key '{cut(word)}'" + (" is ignored" if is_lenient else "")
                self.report.add("KEY_IGNORED" if is_lenient else "KEY_UNKNOWN", self.place.at(word), message, hint=hint)

    def missing(self, name: str, wanted: str) -> None:
        """Report that a key is not there."""
        self.report.add("KEY_MISSING", self.place.at(name), f"'{name}' is missing", hint=f"add {name}: {wanted}")

    def wrong(self, place: Place, message: str, value: Any, hint: str = "") -> None:
        """Report a value of another kind than wanted."""
        self.report.add("TYPE_WRONG", place, f"{message}, not {kind_of(value)}", value=value, hint=hint)

    def _find(self, names: tuple[str, ...]) -> tuple[str, Any]:
        """The spelling that is used, and the value under it."""
        self._asked.append(names[0])
        self._accepted.update(names)
        if len(names) == 1:
            return names[0], self._source.get(names[0])
        given = [key for key in names if self._source.get(key) is not None]
        for key in given[1:]:
            if not _is_same(self._source[given[0]], self._source[key]):
                message = f"'{given[0]}' and '{key}' mean the same and differ"
                self.report.add("KEY_CONFLICT", self.place.at(key), message, hint=f"keep '{names[0]}' only")
        return (given[0], self._source[given[0]]) if given else (names[0], None)


def _is_same(first: Any, second: Any) -> bool:
    """Texts and numbers are compared; two lists or objects are never worth comparing."""
    return type(first) is type(second) and isinstance(first, str | int | float) and first == second


def _is_finite(value: int | float) -> bool:
    return abs(value) < 1e300 if isinstance(value, int) else math.isfinite(value)
