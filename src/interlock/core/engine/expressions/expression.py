"""One expression: parsed once, evaluated often, safe on any text and any data."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

from interlock.core.engine.expressions.compile import Run, compile_tree
from interlock.core.engine.expressions.errors import ExpressionError, Fault
from interlock.core.engine.expressions.grammar import build_tree
from interlock.core.engine.expressions.limits import Frame
from interlock.core.engine.expressions.plain import pass_on, settle
from interlock.core.engine.expressions.syntax import is_reference
from interlock.core.engine.expressions.tokens import tokenize
from interlock.core.errors import InterlockError

_CACHED_SOURCE = 512  # characters; longer ones are rare, and would let the cache grow large
_CACHE_SIZE = 1024


class Expression:
    """A parsed expression; immutable, may be shared and used by many evaluations at once."""

    __slots__ = ("_text", "is_reference", "roots", "run", "source", "start")

    def __init__(self, text: str, start: int, end: int, roots: frozenset[str], run: Run, *, is_reference: bool) -> None:
        self.source = text[start:end].strip()
        self.roots = roots  # names as written; "$now" also for now()
        self.run = run  # the bare value in a frame, not yet checked as a result; raises Fault
        self.is_reference = is_reference  # it only names data, which is passed on as it is
        self._text = text  # what positions count in: the source, or the template around it
        self.start = start

    def evaluate(self, scope: Mapping[str, Any]) -> Any:
        """The JSON value of the expression.

        Keys of the scope are the roots as written (``"$json"``, ``"data"``); one that is missing is null. A value
        that is callable is called without arguments, once per evaluation, when it is first read. Data may be any
        mappings and sequences; the result is made of plain dicts and lists and may share parts with the scope,
        so neither may be changed. Raises ExpressionError and nothing else, except an InterlockError that a
        callable or mapping of the scope raises itself.
        """
        frame = Frame(scope)
        try:
            return self.settled(frame)
        except Exception as problem:  # noqa: BLE001 - the edge: data may be any objects, which fail as they like
            raise self.explain(frame, problem)  # noqa: B904 - explain() sets the cause

    def settled(self, frame: Frame, depth: int = 0) -> Any:
        """The value as a result at a depth of a larger one, taken from the room of the frame; raises Fault."""
        value = self.run(frame)
        frame.at = self.start
        return settle(frame, value, depth)

    def passed_on(self, frame: Frame, depth: int) -> Any:
        """The same, but a large value that is only named is passed on as it is, from the frame's other room."""
        value = self.run(frame)
        frame.at = self.start
        if self.is_reference and pass_on(frame, value):
            return value
        return settle(frame, value, depth)

    def explain(self, frame: Frame, problem: Exception) -> InterlockError:
        """The error to raise for a problem that was met while this expression ran in the frame."""
        if isinstance(problem, InterlockError):
            return problem
        if isinstance(problem, Fault):
            return _located(problem, self._text, frame.at, self.source)
        # Data is not always a dict: a mapping or callable handed in may fail in any way it likes.
        surprise = Fault(f"the data could not be read ({type(problem).__name__})")
        error = _located(surprise, self._text, frame.at, self.source)
        error.__cause__ = problem
        return error

    def __repr__(self) -> str:
        return f"Expression({self.source!r})"


def parse(source: str, *, extra_roots: Collection[str] = ()) -> Expression:
    """The expression of a source of at most 4 KiB, which may be wrapped in one ``{{ }}``.

    ``extra_roots`` are names known beside ROOTS. Short sources are cached. Raises ExpressionError with the place.
    """
    if not isinstance(source, str):
        raise ExpressionError("an expression is a text", text="", position=0, source="", hint="write it in quotes")
    if len(source) <= _CACHED_SOURCE:
        return _parse_cached(source, frozenset(extra_roots))
    return _parse(source, extra_roots)


def read_expression(
    text: str, start: int, extra_roots: Collection[str], *, placeholder: bool
) -> tuple[Expression, int]:
    """The expression in ``text`` from ``start`` to its end, or to its ``}}``, and the offset behind; raises Fault."""
    tokens, behind = tokenize(text, start, placeholder=placeholder)
    tree, roots = build_tree(tokens, extra_roots)
    reference = is_reference(tree)
    return Expression(text, start, tokens[-1].at, roots, compile_tree(tree), is_reference=reference), behind


def locate(fault: Fault, text: str, start: int) -> ExpressionError:
    """The error for a fault met while parsing ``text`` from ``start``."""
    closing = text.find("}}", start) if text.startswith("{{", max(start - 2, 0)) else -1
    return _located(fault, text, start, text[start : closing if closing >= 0 else start + 512].strip())


def _parse(source: str, extra_roots: Collection[str]) -> Expression:
    start = len(source) - len(source.lstrip())
    wrapped = source.startswith("{{", start)
    start = start + 2 if wrapped else 0
    try:
        expression, behind = read_expression(source, start, extra_roots, placeholder=wrapped)
        if rest := source[behind:].lstrip():
            raise Fault("there is more behind the }}", "only a text can hold several {{ }}", at=len(source) - len(rest))
        return expression
    except Fault as fault:
        raise locate(fault, source, start) from None


_parse_cached = lru_cache(_CACHE_SIZE)(_parse)


def _located(fault: Fault, text: str, at: int, source: str) -> ExpressionError:
    position = at if fault.at is None else fault.at
    error = ExpressionError(fault.what, text=text, position=position, source=source, hint=fault.hint)
    error.__suppress_context__ = True
    return error
