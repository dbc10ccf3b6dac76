"""Addresses within messages, which a provider would fetch: only public ones may stand there."""

from __future__ import annotations

import re
from typing import Any

from interlock.core.errors import rule_broken
from interlock.core.public_hosts import AUTHORITY, address_of, is_public, meant_by

FIELD_NOT_ALLOWED = "FIELD_NOT_ALLOWED"

_TEXTS = frozenset(("text", "content", "refusal", "thinking", "reasoning", "reasoning_content", "arguments", "output"))
_TEXTS |= {"title", "context"}
"""What is read and never fetched. A list of parts in one of them is looked into all the same."""
_ADDRESSES = frozenset(("url", "image", "video", "audio", "images", "videos", "image_url", "video_url", "audio_url"))
_ADDRESSES |= {"input_image", "file_url"}
"""What can be nothing but an address, or bytes behind ``data:``."""
_LIKE_ADDRESS = re.compile(r"\s*(?:[a-z][a-z0-9+.-]*://|file:)", re.IGNORECASE)
_BEGINNING = re.compile(r"https://(?P<authority>[^/?#]{1,300})(?:[/?#]|\Z)", re.IGNORECASE)
_OWN_NAMES = (".localhost", ".internal", ".local")
_NOT_FETCHED = frozenset(("annotations", "citations"))
"""Where a model said that it had read something."""


def check_addresses(message: dict[str, Any]) -> None:
    """Raise RULE unless every address in a message, however deep, is https on a public host, or ``data:``.

    A provider may stand in a private network, next to other things, or read its own files.
    """
    _look(message, "")


def _look(value: Any, name: str) -> None:
    """Look at what stands under ``name``; what is in a list stands under the name of the list."""
    if isinstance(value, str):
        if name in _ADDRESSES or (name not in _TEXTS and _LIKE_ADDRESS.match(value)):
            _check(value)
    elif isinstance(value, list):
        for one in value:
            _look(one, name)
    elif isinstance(value, dict):
        for key, one in value.items():
            if key not in _NOT_FETCHED:
                _look(one, key)


def _check(url: str) -> None:
    if not url.startswith("data:") and not _is_public_url(url):
        raise rule_broken(
            FIELD_NOT_ALLOWED, "An address in a message must be https on a public host, or data:", field="messages.url"
        )


def _is_public_url(url: str) -> bool:
    """Whether every reader finds the same public host in it: neither user information nor an unusual number."""
    beginning = _BEGINNING.match(url)
    authority = AUTHORITY.fullmatch(beginning["authority"]) if beginning is not None else None
    if authority is None:
        return False
    try:
        host = authority["host"].encode("idna").decode().lower()
        address = address_of(host)
    except ValueError:
        return False
    return _is_public_name(host.rstrip(".")) if address is None else is_public(meant_by(address))


def _is_public_name(name: str) -> bool:
    return "." in name and not name.endswith(_OWN_NAMES)
