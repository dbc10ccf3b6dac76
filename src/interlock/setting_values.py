"""What values of settings look like, whichever setting they are of, and which of them are refused."""

from __future__ import annotations

import json
import re
from ipaddress import ip_network

from interlock.kit.hosts import canonical, host_of, in_url

KEY_BYTES = 32
"""The least length of a key."""
MAKE_A_KEY = "openssl rand -base64 48"
"""What prints a good key."""

_KEY_SIGNS = 10
"""A random key of that length has more different signs than this."""
_EXAMPLE = re.compile(
    r"(?i)change[-_ ]?(me|this|it|in)|your[-_ ]|example|placeholder|insecure|replace[-_ ]|secret[-_ ]key|"
    r"super[-_ ]?secret"
)
"""What keys say that were copied from a manual."""


def is_guessable(key: str) -> bool:
    """Whether a secret is too short, of too few signs, or looks like one from a manual."""
    is_thin = len(key.encode()) < KEY_BYTES or len(set(key)) < _KEY_SIGNS
    return is_thin or key != key.strip() or _EXAMPLE.search(key) is not None


def entries(text: str) -> tuple[str, ...]:
    """A list as commas or as a JSON array. Raises ValueError for an array of anything but texts."""
    if not text.lstrip().startswith("["):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    try:
        parts = json.loads(text)
    except ValueError:
        parts = None
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise ValueError("is no list; write the entries with commas, or as a JSON array of texts")
    return tuple(parts)


def host_name(text: str) -> str:
    """A name or an address in its one spelling. Raises ValueError for what is neither."""
    host = canonical(text)
    if host_of(in_url(host)) != host:
        raise ValueError(f"{text!r} is no host name; write each one without scheme and port, like box.example")
    return host


def refuse_no_network(text: str) -> None:
    """Raise ValueError unless it names a network that calls may reach."""
    try:
        _ = text.lower() == "loopback" or ip_network(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is neither a network such as 10.1.0.0/16 nor the word loopback") from error
