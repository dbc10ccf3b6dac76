"""Results as callers are promised them: arrays are lists of numbers, however they went from task to task."""

from __future__ import annotations

import asyncio
import base64
from binascii import Error
from typing import Any

import msgspec

from interlock.core.binary import BINARY, DEEPEST, NUMPY
from interlock.kit.npy import as_json
from interlock.services.executions.large import MAX_WHOLE

_MARK = msgspec.json.encode(NUMPY)


async def with_lists(value: Any) -> Any:
    """A copy of the value with lists (``msgspec.Raw``) for its arrays, or itself if it has none.

    Arrays stay ``$binary`` that hold what JSON has not, or whose lists would be more than ``MAX_WHOLE`` bytes.
    """
    if not _may_have_arrays(value):
        return value
    return await asyncio.to_thread(_listed, value)  # an array of some MiB takes a tenth of a second


def _may_have_arrays(value: Any, depth: int = 0) -> bool:
    if type(value) is msgspec.Raw:
        return bytes(memoryview(value)[:1]) == b"{" and _MARK in bytes(value)
    if type(value) is not dict or depth > DEEPEST + 1:
        return False
    return value.get("content_type") == NUMPY or any(_may_have_arrays(item, depth + 1) for item in value.values())


def _listed(value: Any, depth: int = 0) -> Any:
    if type(value) is msgspec.Raw and _may_have_arrays(value):
        value = msgspec.json.decode(value)
    if type(value) is not dict or depth > DEEPEST:
        return value
    text = _array_in(value)
    if text is None:
        return {key: _listed(item, depth + 1) for key, item in value.items()}
    try:
        lists = as_json(base64.b64decode(text, validate=True), MAX_WHOLE)
    except (Error, ValueError):
        return value  # no task has made this
    return value if lists is None else msgspec.Raw(lists)


def _array_in(value: dict[str, Any]) -> str | None:
    """The base64 of the array that an object stands for; None for another object."""
    inner = _open(value.get(BINARY))
    if len(value) != 1 or type(inner) is not dict or inner.get("content_type") != NUMPY:
        return None
    text = _open(inner.get("base64"))
    return text if type(text) is str else None


def _open(value: Any) -> Any:
    return msgspec.json.decode(value) if type(value) is msgspec.Raw else value
