"""Names of hosts: one spelling for each, and which of them can only mean this machine."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

_AUTHORITY = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]{2,45})\]|(?P<name>(?:[A-Za-z0-9_-]+\.)*[A-Za-z0-9_-]+)\.?)(?::\d{0,5})?"
)
_MAX_CHARACTERS = 300


def host_of(authority: str) -> str:
    """The host of ``name``, ``name:port`` or ``[address]:port``, as ``canonical`` spells it; empty for all else."""
    found = _AUTHORITY.fullmatch(authority) if len(authority) <= _MAX_CHARACTERS else None
    if found is None:
        return ""
    if found["six"] is None:
        return canonical(found["name"])
    try:
        return str(IPv6Address(found["six"]))
    except ValueError:
        return ""


def canonical(host: str) -> str:
    """The one spelling of a name or an address without port: lower case, no dot at its end, no brackets."""
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host.removesuffix(".")
    try:
        return str(ip_address(bare))
    except ValueError:
        return bare.lower()


@lru_cache(maxsize=1024)
def is_loopback(host: str) -> bool:
    """Whether a host, spelled as ``canonical`` does, can only mean this machine."""
    if host == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    inner = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (inner or address).is_loopback


def is_everywhere(host: str) -> bool:
    """Whether to listen on a host means to listen on every address of this machine."""
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


def in_url(host: str) -> str:
    """A host as it stands in a URL: IPv6 addresses in brackets."""
    return f"[{host}]" if ":" in host else host
