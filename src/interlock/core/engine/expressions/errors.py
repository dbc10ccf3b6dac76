"""How the language says no: an internal fault without a source, and the located error that leaves the package."""

from __future__ import annotations

from interlock.core.errors import ErrorKind, InterlockError

_SOURCE_SHOWN = 256  # characters of the source repeated in the details of an error


class Fault(Exception):
    """What went wrong and, while parsing, where; becomes an ExpressionError at the edge of the package.

    It never leaves the package. While evaluating, the place is kept by the frame and ``at`` stays None.
    """

    def __init__(self, what: str, hint: str = "", *, at: int | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint
        self.at = at


class ExpressionError(InterlockError):
    """An expression that cannot be parsed, or that failed on its data (kind RULE, code EXPRESSION_ERROR).

    ``details`` holds ``position`` (0-based offset in the whole text that was given, which for a template is the
    text around the placeholder too), ``line`` and ``column`` (1-based), ``source`` (the expression, shortened)
    and ``hint`` (what to do, may be empty). The message names the place and never shows the data.
    """

    def __init__(self, what: str, *, text: str, position: int, source: str, hint: str = "") -> None:
        line = text.count("\n", 0, position) + 1
        column = position - text.rfind("\n", 0, position)
        place = f"line {line}, column {column}" if "\n" in text else f"column {column}"
        message = f"{what} at {place}; {hint}" if hint else f"{what} at {place}"
        details = {"position": position, "line": line, "column": column, "source": _shorten(source), "hint": hint}
        super().__init__(ErrorKind.RULE, "EXPRESSION_ERROR", message, details=details)


def _shorten(source: str) -> str:
    return source if len(source) <= _SOURCE_SHOWN else source[: _SOURCE_SHOWN - 1] + "…"
