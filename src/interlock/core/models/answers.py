"""What a provider answered: the few things of it that we look at."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from interlock.core.models.prices import Usage

_VENDOR_CODE = re.compile(r"(?=[^0-9]*(?:[0-9][^0-9]*){0,4}$)[A-Za-z0-9_.-]{1,64}")
"""A word, or a short number; what has many digits may be a key that the provider repeats."""


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class _Answer(msgspec.Struct):
    usage: _Usage | None = None


class _Chunk(msgspec.Struct):
    choices: list[Any] = []
    usage: _Usage | None = None


class _Failure(msgspec.Struct):
    error: Any = None
    code: Any = None


_answers = msgspec.json.Decoder(_Answer)
_chunks = msgspec.json.Decoder(_Chunk)
_failures = msgspec.json.Decoder(_Failure)


def read_usage(body: bytes) -> Usage | None:
    """The usage in a whole answer; None if it tells none. Raises ValueError for what is no JSON object."""
    return _usage(_answers.decode(body).usage)


def read_chunk_usage(data: bytes) -> tuple[Usage | None, bool]:
    """The usage in a chunk of a stream, and whether that is all it brings. Raises ValueError for no chunk."""
    chunk = _chunks.decode(data)
    return _usage(chunk.usage), not chunk.choices


def vendor_code(body: bytes) -> str | None:
    """The short code in a provider's refusal, if there is one that is safe to show."""
    try:
        failure = _failures.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    inner = failure.error if isinstance(failure.error, dict) else {}
    for code in (inner.get("code"), failure.code, inner.get("type")):
        if isinstance(code, str) and _VENDOR_CODE.fullmatch(code):
            return code
    return None


def _usage(found: _Usage | None) -> Usage | None:
    if found is None:
        return None
    return Usage(found.prompt_tokens, max(found.completion_tokens, 0))
