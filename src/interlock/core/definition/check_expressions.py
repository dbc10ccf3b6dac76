"""Do the expressions of a definition parse, and which nodes do they name?"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from interlock.core.definition.check_values import Text
from interlock.core.definition.limits import MAX_EXPRESSION_TEXT
from interlock.core.definition.report import Place, Report
from interlock.core.engine.expressions import ExpressionError, compile_errors, parse
from interlock.core.engine.expressions.limits import PLACEHOLDERS, SOURCE_BYTES

_SPAN = re.compile(r"\{\{.*?(?:\}\}|$)", re.DOTALL)
_NODE = re.compile(r"""\$node\s*(?:\[\s*(?:"([^"\\]{1,200})"|'([^'\\]{1,200})')\s*\]|\.\s*([^\W\d]\w{0,199}))""")


class Expressions:
    """Parses each different expression of one definition once, up to a total length."""

    def __init__(self, report: Report) -> None:
        self.named: dict[str, Place] = {}  # what stands in $node["…"], with its first place
        self._report = report
        self._left = MAX_EXPRESSION_TEXT
        self._errors: dict[tuple[str, Collection[str] | None], list[ExpressionError]] = {}

    def check_bare(self, text: str, place: Place) -> None:
        """A field that is an expression."""
        key = (text, None)
        if key not in self._errors:
            if not self._spend(min(len(text), SOURCE_BYTES), place):
                return
            self._errors[key] = _parse_errors(text)
        self._note(text, self._errors[key], place)

    def check_template(self, texts: Iterable[Text], place: Place, *, extra_roots: frozenset[str] = frozenset()) -> None:
        """The texts with placeholders of one value."""
        placeholders = 0
        for where, text in texts:
            spans = _SPAN.findall(text)
            placeholders += len(spans)
            key = (text, extra_roots)
            if key not in self._errors:
                if not self._spend(sum(min(len(span), SOURCE_BYTES) for span in spans), where):
                    return
                self._errors[key] = [error for _, error in compile_errors(text, extra_roots=extra_roots)]
            self._note(text, self._errors[key], where)
        if placeholders > PLACEHOLDERS:
            message = f"There are {placeholders} placeholders, at most {PLACEHOLDERS} are allowed in one place"
            self._report.add("TOO_LARGE", place, message, hint="split it over several nodes")

    def _note(self, text: str, errors: list[ExpressionError], place: Place) -> None:
        for error in errors:
            hint = error.details["hint"]
            message = f"Expression: {error.message.removesuffix('; ' + hint)}"
            self._report.add("EXPRESSION_ERROR", place, message, value=text, hint=hint)
        if "$node" in text:
            for found in _NODE.finditer(text):
                self.named.setdefault(next(filter(None, found.groups())), place)

    def _spend(self, length: int, place: Place) -> bool:
        if self._left < 0:
            return False
        self._left -= length
        if self._left < 0:
            message = f"The expressions of the definition have more than {MAX_EXPRESSION_TEXT} characters together"
            self._report.add("TOO_LARGE", place, message, hint="use sub-workflows, or compute in nodes")
        return self._left >= 0


def _parse_errors(text: str) -> list[ExpressionError]:
    try:
        parse(text)
    except ExpressionError as error:
        return [error]
    return []
