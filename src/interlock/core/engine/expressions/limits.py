"""The bounds of the language, and the frame that counts against them while one expression is evaluated.

Work is counted in units of the data touched, never by a clock, so that the same expression on the same data
always ends the same way. One unit is about a fifth of a microsecond: a value visited, or 16 characters moved.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from interlock.core.engine.expressions.errors import Fault

SOURCE_BYTES = 4096  # of one expression, in UTF-8
DEPTH = 32  # nesting of parentheses, brackets, calls, signs and choices
PATH_LENGTH = 512  # characters of a path that may begin with a key of its own
PATH_DOTS = 32  # in such a path
NODES = 256  # literals, roots, path steps, operators and calls of one expression
RESULT_BYTES = 1 << 20  # of one result: every value counts VALUE_BYTES, texts and keys their UTF-8 length on top
VALUE_BYTES = 8
REFERRED_BYTES = 32 << 20  # of all large values that one template only passes on, as MessagePack
LARGE_BYTES = 64 << 10  # from here on a value that is only passed on counts as large
ITEMS = RESULT_BYTES // VALUE_BYTES  # of a list made by an expression
VALUE_DEPTH = 64  # nesting of lists and objects that is read, compared or returned
WORK = 200_000  # units for one evaluation or one rendered template: 10 to 40 ms
PLACEHOLDERS = 1000  # {{ }} in one template

WHOLE_LIMIT = 1 << 63  # results of arithmetic stay strictly between minus this and this
DATA_WHOLE_MIN, DATA_WHOLE_MAX = -(1 << 63), (1 << 64) - 1  # whole numbers that data may hold

_NO_WORK_LEFT = "the expression needs too much work for its data"
_NO_WORK_HINT = "use smaller data, or do this in a node"


class Frame:
    """One evaluation: the scope it reads, the place it is at, and what it may still spend."""

    __slots__ = ("_answers", "at", "referred", "room", "scope", "work")

    def __init__(self, scope: Mapping[str, Any]) -> None:
        self.scope = scope
        self.at = 0
        self.work = WORK
        self.room = RESULT_BYTES
        self.referred = REFERRED_BYTES
        self._answers: dict[str, Any] | None = None

    def root(self, name: str) -> Any:
        """The value of a root, null if the scope has none; a callable is asked once and its answer kept."""
        value = self.scope.get(name)
        return self._ask(name, value) if callable(value) else value

    def charge(self, units: int) -> None:
        """Spends work before it is done; raises a Fault when there is none left."""
        self.work -= units
        if self.work < 0:
            raise Fault(_NO_WORK_LEFT, _NO_WORK_HINT)

    def _ask(self, name: str, question: Any) -> Any:
        if self._answers is None:
            self._answers = {}
        if name not in self._answers:
            self._answers[name] = question()
        return self._answers[name]
