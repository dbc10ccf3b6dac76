"""How many tokens a text may have, without the tokenizer of any model: rather too many than too few."""

from __future__ import annotations

from typing import Any

import msgspec

_BYTES_PER_TOKEN = 3  # English has about four, Chinese three
_PER_MESSAGE = 4
_PER_PART = 1_000  # a picture, a sound, a file


def count_text(text: str) -> int:
    """Tokens of a text, at least one unless it is empty."""
    return count_bytes(len(text.encode("utf-8", "replace")))


def count_bytes(size: int) -> int:
    """Tokens of so many bytes of text."""
    return -(-size // _BYTES_PER_TOKEN)


def count_chat(body: dict[str, Any]) -> int:
    """Tokens of the prompt of a chat: its messages and the tools it offers."""
    count = sum(_PER_MESSAGE + _count_message(message) for message in body.get("messages", ()))
    for name in ("tools", "functions", "response_format"):
        if body.get(name):
            count += _count_json(body[name])
    return count


def count_inputs(inputs: list[str]) -> int:
    """Tokens of texts to embed."""
    return sum(map(count_text, inputs))


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


def _count_json(value: Any) -> int:
    return count_text(value) if isinstance(value, str) else count_bytes(len(msgspec.json.encode(value)))
