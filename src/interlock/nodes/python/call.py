"""One call of a registered function: its arguments in, its answer out as JSON, its errors as failures."""

from __future__ import annotations

import functools
import inspect
import json
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from interlock.kit import strict_json
from interlock.ports.node import Attempt, NodeFailed, Services

MAX_RESULT = 16 * 1_048_576
"""Bytes of JSON a function may return."""
_MAX_KEYS = 1_000_000
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True)
class Context:
    """What a function may know of its attempt. ``attempt`` counts from 1.

    All attempts of a task have one ``effect_key``: send it along with whatever must happen only once. In a call for
    several tasks ``effect_keys`` are theirs, in the order of the list.
    """

    effect_key: str
    effect_keys: tuple[str, ...]
    attempt: int
    _services: Services

    def report(self, progress: float | None = None, message: str = "", data: Any = None) -> None:
        """Say how far the work is (0 to 1). At most one report a second is passed on."""
        self._services.report(progress, message, data)


async def call_function(function: Callable[..., Any], arguments: Any, attempt: Attempt, services: Services) -> Any:
    """What the function returns. Raises NodeFailed: its exception by type name, or RESULT_NOT_JSON."""
    given = (arguments, Context(attempt.effect_key, attempt.effect_keys, attempt.attempt, services))
    try:
        result = function(*given[: 2 if _wants_context(function) else 1])
        if inspect.isawaitable(result):
            result = await result
    except NodeFailed:
        raise
    except (Exception, SystemExit) as error:
        raise _failure(error) from error
    return _read_result(result)


@functools.lru_cache(maxsize=1024)
def _wants_context(function: Callable[..., Any]) -> bool:
    """A second parameter is the context if it is called so or must be given; a default of another name is its own."""
    try:
        taken = [each for each in inspect.signature(function).parameters.values() if each.kind in _POSITIONAL]
    except ValueError:  # built in, without a signature
        return False
    return len(taken) > 1 and (taken[1].name == "context" or taken[1].default is inspect.Parameter.empty)


def _failure(error: BaseException) -> NodeFailed:
    name = type(error).__name__
    return NodeFailed(name, str(error) or name, retryable=True, details=_place(error))


def _place(error: BaseException) -> dict[str, Any]:
    """Where the error was raised: what an author needs first, without the paths of the machine."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return {}
    last = frames[-1]
    return {"raised_at": f"{PurePath(last.filename).name}:{last.lineno} in {last.name}"}


def _read_result(result: Any) -> Any:
    """The result with tuples as lists and keys as texts, as it will be read back."""
    with suppress(Exception):  # the slow way takes more, and has the words for what it does not take
        return strict_json.read_back(result, max_bytes=MAX_RESULT, max_keys=_MAX_KEYS)
    try:
        encoded = json.dumps(result, allow_nan=False, ensure_ascii=False).encode()
        return strict_json.decode(encoded, max_bytes=MAX_RESULT, max_keys=_MAX_KEYS)
    except (TypeError, ValueError, RecursionError) as error:
        message = f"What the function returned ({type(result).__name__}) is not JSON: {error}"
        raise NodeFailed("RESULT_NOT_JSON", message) from error
