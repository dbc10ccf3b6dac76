"""What a provider answered: the few things of it that we look at."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from interlock.core.models.prices import Usage
from interlock.core.models.requests import Kind

_VENDOR_CODE = re.compile(r"(?=[^0-9]*(?:[0-9][^0-9]*){0,4}$)[A-Za-z0-9_.-]{1,64}")
"""A word, or a short number; what has many digits may be a key that the provider repeats."""


_MOST_TOKENS = 1_000_000_000
"""More than any call has; a larger number is a mistake."""


class _Usage(msgspec.Struct):
    prompt_tokens: Any = None
    completion_tokens: Any = None
    total_tokens: Any = None


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


def read_usage(body: bytes, kind: Kind) -> Usage | None:
    """The usage in a whole answer; None if it tells none. Raises ValueError for what is no JSON object."""
    found = _answers.decode(body).usage
    if kind == "chat" or found is None:
        return _usage(found)
    tokens = _tokens(found.prompt_tokens) or _tokens(found.total_tokens)
    return Usage(tokens) if tokens else None


def read_chunk_usage(data: bytes) -> tuple[Usage | None, bool]:
    """The usage in a chunk of a stream, and whether that is all it brings. Raises ValueError for no chunk."""
    chunk = _chunks.decode(data)
    return _usage(chunk.usage), chunk.usage is not None and not chunk.choices


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
    """What a chat used. There is none without tokens, so that zeros say as little as nothing does."""
    if found is None:
        return None
    prompt, output, whole = map(_tokens, (found.prompt_tokens, found.completion_tokens, found.total_tokens))
    if prompt is not None and output is None and whole is not None:
        output = max(whole - prompt, 0)
    if prompt is None or output is None or prompt + output == 0:
        return None
    return Usage(prompt, output)


def _tokens(value: Any) -> int | None:
    """A number of tokens, also one that was written with a fraction of nothing; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST_TOKENS:
        return None
    return int(value)
