"""One value out of another by a path: ``a.b``, ``a[0].b``, ``a.0.b``, each with or without a leading ``$``."""

from __future__ import annotations

import re
from typing import Any

from interlock.ports.node import NodeFailed

_STEP = re.compile(r"\.?(?P<key>[^.\[\]]+)|\[(?P<index>\d{1,9})\]|\[(?P<quote>['\"])(?P<name>.*?)(?P=quote)\]")
_MAX_PATH = 1000  # characters


def pick(source: Any, path: Any, name: str) -> Any:
    """The value at ``path``, ``source`` itself without one. ``name`` is what the source is called in a refusal.

    Raises NodeFailed: SOURCE_NOT_FOUND if there is no source or no such place, PARAMETER_INVALID for a bad path.
    """
    if source is None:
        raise NodeFailed("SOURCE_NOT_FOUND", f"{name} is missing or null")
    for step in _steps(path):
        source = _step_into(source, step, path)
    return source


def _steps(path: Any) -> list[str]:
    if path is None:
        return []
    if not isinstance(path, str) or len(path) > _MAX_PATH:
        raise NodeFailed("PARAMETER_INVALID", f"extract_path must be a text of at most {_MAX_PATH} characters")
    position = 1 if path.startswith("$") else 0
    steps = []
    while position < len(path):
        found = _STEP.match(path, position)
        if found is None:
            hint = "write it like $.items[0].name"
            raise NodeFailed("PARAMETER_INVALID", f"extract_path {path!r} cannot be read at {position}; {hint}")
        steps.append(found["key"] or found["index"] or found["name"] or "")
        position = found.end()
    return steps


def _step_into(value: Any, step: str, path: str) -> Any:
    if isinstance(value, dict) and step in value:
        return value[step]
    if isinstance(value, list) and step.isdecimal() and int(step) < len(value):
        return value[int(step)]
    raise NodeFailed("SOURCE_NOT_FOUND", f"The source has nothing at {path!r}: {step!r} is not there.")
