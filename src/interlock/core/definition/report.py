"""Collecting what is wrong with a definition: all of it, each with its place, none of it twice."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from difflib import get_close_matches
from typing import Any, Literal, NamedTuple

from interlock.core.definition.limits import MAX_PROBLEMS, WHOLE_MAX, WHOLE_MIN
from interlock.core.workflow import Problem

Code = Literal[
    "CONDITION_NOT_ALLOWED",
    "CONNECTION_DANGLING",
    "CONNECTION_SELF",
    "CYCLE",
    "EXPRESSION_ERROR",
    "FAN_IN_INVALID",
    "FLOW_TOO_SMALL",
    "ID_DUPLICATE",
    "ID_INVALID",
    "KEY_CONFLICT",
    "KEY_IGNORED",
    "KEY_MISSING",
    "KEY_UNKNOWN",
    "KIND_UNKNOWN",
    "LOOP_BODY_MISSING",
    "LOOP_BOUNDARY",
    "LOOP_ENTRY",
    "NAME_AMBIGUOUS",
    "NODES_MISSING",
    "NODE_NOT_IN_FLOW",
    "NODE_REFERENCE_UNKNOWN",
    "NODE_TYPE_UNKNOWN",
    "NOT_JSON",
    "OUT_OF_RANGE",
    "PARAMETER_INVALID",
    "PARAMETER_UNKNOWN",
    "PORT_UNKNOWN",
    "STATE_UNKNOWN",
    "SUBWORKFLOW_NOT_CONSTANT",
    "TIMER_WITHOUT_TRANSITION",
    "TOO_DEEP",
    "TOO_LARGE",
    "TOO_MANY_PROBLEMS",
    "TRANSITION_AMBIGUOUS",
    "TYPE_WRONG",
    "VALUE_NOT_ALLOWED",
]
WARNINGS: frozenset[Code] = frozenset({"KEY_IGNORED", "NODE_REFERENCE_UNKNOWN", "PARAMETER_UNKNOWN"})
"""Codes of problems that do not keep a definition from being stored and run."""

_SHOWN = 100  # characters of an offending value
_SHOWN_KEY = 64
_NAME = re.compile(r"[^\W\d]\w{0,63}")
_GUESSES = 20  # nearest names looked for in one report; each costs up to 5 ms
_CANDIDATES = 1_000


class Place(NamedTuple):
    """Where something stands: its path, and the node (or flow state) it belongs to."""

    path: str
    node_id: str | None = None

    def at(self, *steps: str | int) -> Place:
        """A place further inside."""
        path = self.path
        for step in steps:
            path = join_path(path, step)
        return Place(path, self.node_id)


class Report:
    """The problems of one definition, in the order they were met, at most MAX_PROBLEMS and one that says so.

    Warnings give way to errors, so that the definition is never refused for their number.
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._unreadable: frozenset[str] = frozenset()
        self._guesses: dict[tuple[str, str], str] = {}

    @property
    def is_full(self) -> bool:
        return len(self.problems) > MAX_PROBLEMS

    @property
    def errors(self) -> list[Problem]:
        return [problem for problem in self.problems if not is_warning(problem)]

    def add(self, code: Code, place: Place, message: str, *, value: Any = None, hint: str = "") -> None:
        """Note a problem, unless its place could not be read or the report is full."""
        if self.is_full or self._is_unreadable(place.path):
            return
        if len(self.problems) == MAX_PROBLEMS:
            if code in WARNINGS:
                return
            if not self._drop_warning():
                message = f"There are more than {MAX_PROBLEMS} problems; the rest is not shown"
                self.problems.append(Problem(code="TOO_MANY_PROBLEMS", message=message, path=""))
                return
        problem = Problem(
            code=code, message=message, path=place.path, node_id=place.node_id, value=shown(value), hint=hint
        )
        self.problems.append(problem)

    def _drop_warning(self) -> bool:
        """Make room for an error; False if there is nothing but errors."""
        for index in range(len(self.problems) - 1, -1, -1):
            if is_warning(self.problems[index]):
                del self.problems[index]
                return True
        return False

    def close_reading(self) -> None:
        """What is wrong so far could not be read; what the checks say about these places is an echo of it."""
        self._unreadable = frozenset(problem.path for problem in self.problems if not is_warning(problem))

    def nearest(self, word: str, known: Collection[str], about: str) -> str:
        """``did you mean 'x'?`` or nothing; ``about`` names the words. Guesses only a bounded number of times."""
        key = (word[:_SHOWN_KEY].lower(), about)
        if key not in self._guesses and (len(self._guesses) >= _GUESSES or len(known) > _CANDIDATES):
            return ""
        if key not in self._guesses:
            by_lower = {name.lower(): name for name in known}
            found = get_close_matches(key[0], by_lower, n=1)
            self._guesses[key] = f"did you mean '{by_lower[found[0]]}'?" if found else ""
        return self._guesses[key]

    def _is_unreadable(self, path: str) -> bool:
        return any(path == known or path.startswith((known + ".", known + "[")) for known in self._unreadable)


def is_warning(problem: Problem) -> bool:
    """Whether the definition can be stored and run in spite of it."""
    return problem.code in WARNINGS


def join_path(path: str, step: str | int) -> str:
    """A path one step further: ``nodes[2].parameters["a key"]``; very long keys are cut."""
    if isinstance(step, int):
        return f"{path}[{step}]"
    if _NAME.fullmatch(step):
        return f"{path}.{step}" if path else step
    return f"{path}[{json.dumps(cut(step, _SHOWN_KEY))}]"


def cut(text: str, length: int = _SHOWN) -> str:
    """A text as it may be shown: not too long, and without halves of surrogate pairs."""
    short = text if len(text) <= length else text[: length - 1] + "…"
    return short if short.isascii() else short.encode("utf-8", "replace").decode()


def shown(value: Any) -> Any:
    """A value as it may be repeated to its sender: small, and plain JSON."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if WHOLE_MIN <= value <= WHOLE_MAX else "a very large number"
    if isinstance(value, float):
        return value if abs(value) < float("inf") else str(value)
    if isinstance(value, str):
        return cut(value)
    return kind_of(value)


def kind_of(value: Any) -> str:
    """What a value is, in the words of an author."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return f"an object of {len(value)} keys"
    return type(value).__name__
