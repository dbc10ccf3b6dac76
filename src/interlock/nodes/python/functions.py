"""The functions that installed packages register: found once per process, loaded when first called."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from interlock.ports.node import NodeFailed

GROUP = "interlock.functions"
_LISTED = 50  # names in an error


def find_function(name: Any) -> Callable[..., Any]:
    """The function registered under ``name``.

    Raises NodeFailed: FUNCTION_UNKNOWN with the names that are known, FUNCTION_AMBIGUOUS if two packages claim the
    name, FUNCTION_BROKEN if it cannot be imported or is no function.
    """
    claims = _registered().get(name, []) if isinstance(name, str) else []
    if not claims:
        raise _unknown(name)
    if len({claim.value for claim in claims}) > 1:
        values = ", ".join(sorted(claim.value for claim in claims))
        raise NodeFailed("FUNCTION_AMBIGUOUS", f"Several packages register the function {name!r}: {values}.")
    return _load(claims[0])


@cache
def _registered() -> dict[str, list[EntryPoint]]:
    found: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=GROUP):
        found.setdefault(entry.name, []).append(entry)
    return found


@cache
def _load(entry: EntryPoint) -> Callable[..., Any]:
    try:
        function = entry.load()
    except Exception as error:
        message = f"The function {entry.name!r} ({entry.value}) cannot be imported: {type(error).__name__}: {error}"
        raise NodeFailed("FUNCTION_BROKEN", message) from error
    if not callable(function):
        raise NodeFailed("FUNCTION_BROKEN", f"{entry.value}, registered as {entry.name!r}, cannot be called.")
    loaded: Callable[..., Any] = function
    return loaded


def _unknown(name: Any) -> NodeFailed:
    known = sorted(_registered())
    more = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
    listed = ", ".join(known[:_LISTED]) + more if known else "none"
    message = (
        f"No installed package registers a function {str(name)[:100]!r} in the entry-point group {GROUP}. "
        f"Registered: {listed}."
    )
    return NodeFailed("FUNCTION_UNKNOWN", message, details={"known": known[:_LISTED]})
