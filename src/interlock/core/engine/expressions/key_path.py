"""Placeholders that name a key as it is written: ``{{result:check.total}}``, ``{{order-id}}``, ``{{lines.0.sku}}``."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from interlock.core.engine.expressions.compile import Run
from interlock.core.engine.expressions.errors import Fault
from interlock.core.engine.expressions.expression import Expression, read_expression
from interlock.core.engine.expressions.limits import PATH_DOTS, PATH_LENGTH, SOURCE_BYTES, Frame

_PATH = re.compile(r"\s*(?P<path>[^\W\d][\w:-]*(?:\.[\w:-]+)*)\s*}}")
_PLAIN = re.compile(r"(?!.*__)\w+")
"""A name that no expression reads otherwise."""
_ABSENT = object()
_Split: TypeAlias = tuple[str, Sequence[str]]


def read_path(values: Mapping[str, Any], path: str, default: Any = None) -> Any:
    """What stands at ``path``: the longest name before one of its dots that is a key, and what is inside of that.

    A path beyond PATH_LENGTH characters or PATH_DOTS dots is one name and nothing else.
    """
    for name, steps in _splits(path):
        if name in values:
            found = _walk(values[name], steps)
            if found is not _ABSENT:
                return found
    return default


def read_placeholder(text: str, start: int, extra_roots: Collection[str]) -> tuple[Expression, int]:
    """What stands behind a ``{{``, and the offset behind its ``}}``; raises Fault.

    Where keys are roots (``extra_roots``), a key that is there under the very name that is written wins over what
    the name would mean as an expression, and a name that is no expression is a key. A path beyond PATH_LENGTH
    characters or PATH_DOTS dots is refused.
    """
    found = _PATH.match(text, start, start + SOURCE_BYTES) if extra_roots else None
    if found is None or _PLAIN.fullmatch(found["path"]):
        return read_expression(text, start, extra_roots, placeholder=True)
    if not _is_short(found["path"]):
        raise Fault(f"a path has at most {PATH_DOTS} dots and {PATH_LENGTH} characters", "name a nearer key")
    meant, behind = None, found.end()
    with contextlib.suppress(Fault):  # then it is a key and nothing else
        meant, behind = read_expression(text, start, extra_roots, placeholder=True)
    splits = tuple(_splits(found["path"]))
    roots = frozenset(name for name, _ in splits) | (meant.roots if meant is not None else frozenset())
    return Expression(text, start, found.end("path"), roots, _run(splits, meant), is_reference=True), behind


def _splits(path: str) -> Iterator[_Split]:
    """All ways to take a path apart into a name and steps behind it, the longest name first."""
    steps = path.split(".") if _is_short(path) else [path]
    return ((".".join(steps[:length]), steps[length:]) for length in range(len(steps), 0, -1))


def _is_short(path: str) -> bool:
    """Whether the path may be taken apart: all its names together are as large as the square of its dots."""
    return len(path) <= PATH_LENGTH and path.count(".") <= PATH_DOTS


def _run(splits: Sequence[_Split], meant: Expression | None) -> Run:
    def run(frame: Frame) -> Any:
        for name, steps in splits:
            frame.charge(1 + len(steps))
            value = frame.root(name)
            if value is not None and (value := _walk(value, steps)) is not _ABSENT:
                return value
        if meant is None or all(frame.root(name) is None for name in meant.roots):
            return None
        return meant.run(frame)

    return run


def _walk(value: Any, steps: Sequence[str]) -> Any:
    """The value some steps further inside."""
    for step in steps:
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return _ABSENT
    return value
