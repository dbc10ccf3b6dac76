"""JSON with ``{{ expression }}`` in its texts: compiled once, rendered for every task.

A text that is exactly one placeholder becomes its value and keeps the kind; in any other text the values are
joined as text. Keys of objects are never substituted. ``{{ "{{" }}`` writes two braces.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeAlias

from interlock.core.engine.expressions.errors import ExpressionError, Fault
from interlock.core.engine.expressions.expression import Expression, locate
from interlock.core.engine.expressions.key_path import read_placeholder
from interlock.core.engine.expressions.limits import PLACEHOLDERS, VALUE_DEPTH, Frame
from interlock.core.engine.expressions.plain import is_list, require_room, settle, text_of

Fill: TypeAlias = Callable[["_Rendering"], Any]

_OPEN = "{{"
_NAME = re.compile(r"[^\W\d]\w*")
_ERRORS = 100  # of one definition; nobody reads more at once


class Template:
    """A compiled JSON value; immutable, may be shared and used by many renderings at once."""

    __slots__ = ("_fill", "constant", "is_constant", "roots")

    def __init__(self, constant: Any, fill: Fill | None, roots: frozenset[str]) -> None:
        self.is_constant = fill is None
        self.constant = constant  # the value itself if nothing is substituted, else None
        self.roots = roots
        self._fill = fill

    def render(self, scope: Mapping[str, Any]) -> Any:
        """The value with all placeholders substituted; scope and errors are those of ``Expression.evaluate``.

        The limits of work and of the result (counted over what is substituted) hold for one rendering as a
        whole. A constant template returns its value itself.
        """
        if self._fill is None:
            return self.constant
        rendering = _Rendering(scope)
        try:
            return self._fill(rendering)
        except Exception as problem:  # noqa: BLE001 - the edge: data may be any objects, which fail as they like
            raise rendering.current.explain(rendering, problem)  # noqa: B904 - explain() sets the cause


def compile_template(value: Any, *, extra_roots: Collection[str] = ()) -> Template:
    """The template of any JSON value. Raises ExpressionError for the first placeholder that does not parse."""
    compiler = _Compiler(extra_roots)
    fill = compiler.value(value, 0)
    return Template(value if fill is None else None, fill, frozenset(compiler.roots))


def compile_errors(
    value: Any, path: str = "$", *, extra_roots: Collection[str] = ()
) -> list[tuple[str, ExpressionError]]:
    """All placeholders of a JSON value that do not parse, with the path of their text, at most 100.

    Paths look like ``$.nodes[0]["a key"].url``; ``path`` is where they begin.
    """
    errors: list[tuple[str, ExpressionError]] = []
    counter = _Counter()
    for place, text in _texts(value, path, 0):
        parts = (text,) if isinstance(text, ExpressionError) else _parts(text, extra_roots, counter)
        for part in parts:
            if isinstance(part, ExpressionError):
                errors.append((place, part))
            if len(errors) == _ERRORS or counter.left < 0:
                return errors
    return errors


class _Rendering(Frame):
    """The one frame of a rendering, which knows the expression that is running."""

    __slots__ = ("current",)
    current: Expression


class _Counter:
    """How many placeholders one template may still have."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = PLACEHOLDERS


class _Compiler:
    def __init__(self, extra_roots: Collection[str]) -> None:
        self.roots: set[str] = set()
        self._extra_roots = extra_roots
        self._counter = _Counter()

    def value(self, value: Any, depth: int) -> Fill | None:
        """What makes the value anew for each rendering, None if nothing in it is substituted."""
        if isinstance(value, str):
            return self._text(value, depth) if _OPEN in value else None
        if isinstance(value, Mapping):
            _require_depth(depth)
            return _fill_object({key: (item, self.value(item, depth + 1)) for key, item in value.items()})
        if is_list(value):
            _require_depth(depth)
            return _fill_list([(item, self.value(item, depth + 1)) for item in value])
        return None

    def _text(self, text: str, depth: int) -> Fill:
        parts: list[str | Expression] = []
        for part in _parts(text, self._extra_roots, self._counter):
            if isinstance(part, ExpressionError):
                raise part
            parts.append(part)
            self.roots |= part.roots if isinstance(part, Expression) else frozenset()
        if len(parts) == 1 and isinstance(parts[0], Expression):
            return _fill_value(parts[0], depth)
        return _fill_text(parts, depth)


def _fill_object(entries: dict[Any, tuple[Any, Fill | None]]) -> Fill | None:
    if all(fill is None for _, fill in entries.values()):
        return None
    fields = [(key, item, fill) for key, (item, fill) in entries.items()]
    return lambda rendering: {key: item if fill is None else fill(rendering) for key, item, fill in fields}


def _fill_list(items: list[tuple[Any, Fill | None]]) -> Fill | None:
    if all(fill is None for _, fill in items):
        return None
    return lambda rendering: [item if fill is None else fill(rendering) for item, fill in items]


def _fill_value(expression: Expression, depth: int) -> Fill:
    def fill(rendering: _Rendering) -> Any:
        rendering.current = expression
        return expression.passed_on(rendering, depth)

    return fill


def _fill_text(parts: list[str | Expression], depth: int) -> Fill:
    def fill(rendering: _Rendering) -> str:
        pieces, size = [], 0
        for part in parts:
            piece = part if isinstance(part, str) else _piece(rendering, part)
            size += len(piece)
            require_room(size)
            pieces.append(piece)
        text: str = settle(rendering, "".join(pieces), depth)
        return text

    return fill


def _piece(rendering: _Rendering, expression: Expression) -> str:
    rendering.current = expression
    value = expression.run(rendering)
    rendering.at = expression.start
    return text_of(rendering, value)


def _parts(text: str, extra_roots: Collection[str], counter: _Counter) -> Iterator[str | Expression | ExpressionError]:
    """The texts and expressions of a text, in order; after one that does not parse it goes on behind its }}."""
    position = 0
    while (opening := text.find(_OPEN, position)) >= 0:
        if opening > position:
            yield text[position:opening]
        start = opening + len(_OPEN)
        try:
            counter.left -= 1
            if counter.left < 0:
                raise Fault(f"there are more than {PLACEHOLDERS} placeholders", "split the template", at=opening)
            expression, position = read_placeholder(text, start, extra_roots)
            yield expression
        except Fault as fault:
            yield locate(fault, text, start)
            closing = text.find("}}", start if fault.at is None else fault.at)
            position = closing + 2 if closing >= 0 else len(text)
    if position < len(text):
        yield text[position:]


def _texts(value: Any, path: str, depth: int) -> Iterator[tuple[str, str | ExpressionError]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping) or is_list(value):
        try:
            _require_depth(depth)
        except ExpressionError as error:
            yield path, error
            return
        steps = (
            ((_step(key), item) for key, item in value.items())
            if isinstance(value, Mapping)
            else ((f"[{place}]", item) for place, item in enumerate(value))
        )
        for step, item in steps:
            yield from _texts(item, path + step, depth + 1)


def _step(key: Any) -> str:
    return (
        f".{key}" if isinstance(key, str) and _NAME.fullmatch(key) else f"[{json.dumps(str(key), ensure_ascii=False)}]"
    )


def _require_depth(depth: int) -> None:
    if depth >= VALUE_DEPTH:
        raise ExpressionError(f"the template is nested deeper than {VALUE_DEPTH}", text="", position=0, source="")
