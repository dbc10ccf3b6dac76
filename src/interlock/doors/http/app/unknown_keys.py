"""Keys that mean nothing here. Clients keep keys of their own in a definition, so each is told and none is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from interlock.core.definition.report import Place, Report, cut
from interlock.core.workflow import Problem


class Words(NamedTuple):
    """The keys of one kind of object: ``used`` ones mean something here, ``kept`` ones are the clients' own."""

    used: tuple[str, ...]
    kept: tuple[str, ...] = ()


class UnknownKeys:
    """Collects unknown keys as warnings, at most as many as are ever reported, each with the nearest known one."""

    def __init__(self) -> None:
        self._report = Report()

    @property
    def problems(self) -> list[Problem]:
        return self._report.problems

    def look(self, place: Place, given: Mapping[str, Any], words: Words) -> None:
        """Tell the keys of an object that are none of its words."""
        for key, value in given.items():
            if key not in words.used and key not in words.kept:
                message = f"Unknown key '{cut(key)}' is ignored"
                self._report.add("KEY_UNKNOWN", place.at(key), message, value=value, hint=self.hint(key, words))

    def hint(self, key: str, words: Words) -> str:
        """What may have been meant."""
        known = ", ".join(words.used)
        return self._report.nearest(key, (*words.used, *words.kept), known) or f"known: {known}"


def of_body(raw: bytes, words: Words) -> list[Problem]:
    """The unknown keys at the top of a body that was already found to be a JSON object or absent."""
    if not raw:
        return []
    given = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    strange = given.keys() - set(words.used) - set(words.kept)
    unknown = UnknownKeys()
    unknown.look(Place(""), {key: msgspec.json.decode(given[key]) for key in given if key in strange}, words)
    return unknown.problems
