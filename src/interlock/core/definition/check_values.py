"""Are the values of a definition plain JSON, and not too much of it?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from interlock.core.definition.limits import MAX_DEPTH, MAX_VALUES, WHOLE_MAX, WHOLE_MIN
from interlock.core.definition.report import Place, Report, kind_of

Text = tuple[Place, str]
_OPEN = "{{"


class Values:
    """Walks the values of one definition and counts them together."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._left = MAX_VALUES

    def check(self, value: Any, place: Place) -> list[Text] | None:
        """The texts with placeholders inside a value, each with its place; None if it is not plain JSON (reported)."""
        texts: list[Text] = []
        return texts if self._visit(value, place, (), texts) else None

    def _visit(self, value: Any, place: Place, steps: tuple[str | int, ...], texts: list[Text]) -> bool:
        self._left -= 1
        if self._left < 0:
            return self._refuse_more(place)
        if isinstance(value, str):
            if _OPEN in value:
                texts.append((place.at(*steps), value))
            return _is_text(value) or self._refuse(place, steps, "a text holds NUL or half of a surrogate pair")
        if value is None or isinstance(value, bool):
            return True
        if isinstance(value, int):
            return WHOLE_MIN <= value <= WHOLE_MAX or self._refuse(place, steps, "a whole number must fit in 64 bits")
        if isinstance(value, float):
            return math.isfinite(value) or self._refuse(place, steps, "a number must be finite")
        if not isinstance(value, dict | list | tuple):
            return self._refuse(place, steps, f"{kind_of(value)} is not a JSON value")
        if len(steps) >= MAX_DEPTH:
            self._report.add("TOO_DEEP", place.at(*steps[:8]), f"More than {MAX_DEPTH} lists and objects in each other")
            return False
        return self._visit_items(value, place, steps, texts)

    def _visit_items(self, value: Any, place: Place, steps: tuple[str | int, ...], texts: list[Text]) -> bool:
        is_plain = True
        for key, item in _items(value):
            if isinstance(value, dict) and not (isinstance(key, str) and _is_text(key)):
                is_plain = self._refuse(place, steps, "the keys of an object must be texts")
            elif not self._visit(item, place, (*steps, key), texts):
                is_plain = False
            if self._left < 0:
                return False
        return is_plain

    def _refuse(self, place: Place, steps: tuple[str | int, ...], why: str) -> bool:
        self._report.add("NOT_JSON", place.at(*steps), f"The value is not plain JSON: {why}")
        return False

    def _refuse_more(self, place: Place) -> bool:
        message = f"The definition has more than {MAX_VALUES} values in its parameters, inputs and mappings"
        if self._left == -1:
            self._report.add("TOO_LARGE", place, message, hint="keep large data outside and read it in a node")
        return False


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    return iter(value.items()) if isinstance(value, dict) else enumerate(value)


def _is_text(text: str) -> bool:
    if text.isascii():
        return "\x00" not in text
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in text
