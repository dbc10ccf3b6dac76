"""How many tokens a text has, without the tokenizer of any model: about, and at most.

Tokenizers work on bytes in the end: no token stands for less than one byte of the text, so that there are never more
tokens than bytes. What chat templates put around messages and tools is counted generously.
"""

from __future__ import annotations

from typing import Any

import msgspec

_BYTES_PER_TOKEN = 3  # English has about four, Chinese three
_PER_MESSAGE = 4
_PER_PART = 1_000  # a picture, a sound, a file
_MOST_PER_PART = 48_000  # the dearest known: a large picture for a model that counts pictures dearly
_MOST_AROUND = 32  # what a template says around the messages
_MOST_ABOUT_TOOLS = 1_024  # and how it explains tools and formats
_EXPLAINED = ("tools", "functions", "response_format")
_MOST_PER_TEXT = 4  # what stands around a text that is embedded


def count_text(text: str) -> int:
    """Tokens of a text, at least one unless it is empty."""
    return count_bytes(_size(text))


def count_bytes(size: int) -> int:
    """Tokens of so many bytes of text."""
    return -(-size // _BYTES_PER_TOKEN)


def count_chat(body: dict[str, Any]) -> int:
    """Tokens of the prompt of a chat: its messages and the tools it offers."""
    count = sum(_PER_MESSAGE + _count_message(message) for message in body.get("messages", ()))
    for name in _EXPLAINED:
        if body.get(name):
            count += _count_json(body[name])
    return count


def bound_chat(body: dict[str, Any], counted: int) -> int:
    """What ``count_chat`` would be at most, by any tokenizer; ``counted`` is what it was."""
    around = _MOST_ABOUT_TOOLS if any(map(body.get, _EXPLAINED)) else _MOST_AROUND
    parts = sum(_count_other_parts(message.get("content")) for message in body.get("messages", ()))
    return counted * _BYTES_PER_TOKEN + parts * _MOST_PER_PART + around


def bound_inputs(inputs: list[str]) -> int:
    """Tokens of texts to embed, at most."""
    return sum(_size(text) + _MOST_PER_TEXT for text in inputs)


def count_inputs(inputs: list[str]) -> int:
    """Tokens of texts to embed."""
    return sum(map(count_text, inputs))


def _size(text: str) -> int:
    """Bytes of it in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def _count_message(message: dict[str, Any]) -> int:
    return sum(_count_content(value) if name == "content" else _count_json(value) for name, value in message.items())


def _count_content(content: Any) -> int:
    if isinstance(content, str):
        return count_text(content)
    if isinstance(content, list):
        return sum(map(_count_part, content))
    return _count_json(content)


def _count_part(part: Any) -> int:
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        return count_text(part["text"])
    return _PER_PART


def _count_other_parts(content: Any) -> int:
    """The parts of a message that are no texts."""
    if not isinstance(content, list):
        return 0
    return sum(not (isinstance(part, dict) and isinstance(part.get("text"), str)) for part in content)


def _count_json(value: Any) -> int:
    return count_text(value) if isinstance(value, str) else count_bytes(len(msgspec.json.encode(value)))
