"""Which hosts are public, as far as their spelling tells: pure rules about names and numbers, no look-ups."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_network

AUTHORITY = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^\[\]@%:]+)(?::[0-9]{0,5})?")
"""Host and port of a URL, without user information and without anything that a reader could take for it."""

_HOST_NAME = re.compile(r"(?=.{1,253}\.?$)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?")
# A last label like this makes resolvers read the whole name as a number: 127.1, 0x7f000001, 2130706433.
_NUMERIC_END = re.compile(r"(?:.*\.)?(?:0x[0-9a-f]*|[0-9]+)\.?")
_IPV6_UNICAST = ip_network("2000::/3")
_NAT64 = ip_network("64:ff9b::/96")
# What the registries of ``ipaddress`` call global, or not in all versions of Python, and no call should reach.
_NOT_PUBLIC = tuple(
    ip_network(network)
    for network in (
        "100.64.0.0/10",  # carrier NAT; metadata of some clouds
        "168.63.129.16/32",  # the host agent of Azure
        "192.0.0.0/24",  # protocol assignments; metadata of Oracle Cloud
        "192.88.99.0/24",  # 6to4 relays
        "2001::/32",  # Teredo: an IPv4 address inside
        "2002::/16",  # 6to4: an IPv4 address inside
        "3fff::/20",  # documentation
    )
)


def address_of(host: str) -> IPv4Address | IPv6Address | None:
    """The address that ``host`` (ASCII, lower case, IPv6 in brackets) is; None for a name.

    Raises ValueError for what is neither, or would be read differently by others.
    """
    if host.startswith("["):
        return IPv6Address(host[1:-1])
    try:
        return IPv4Address(host)
    except ValueError:
        if not _HOST_NAME.fullmatch(host) or _NUMERIC_END.fullmatch(host):
            raise
        return None


def meant_by(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that a mapped or NAT64 address leads to, else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address, as ``meant_by`` gives it, belongs to the public network."""
    if isinstance(address, IPv6Address) and address not in _IPV6_UNICAST:
        return False
    if address.is_multicast or address.is_reserved or not address.is_global:
        return False
    return not any(address in network for network in _NOT_PUBLIC)
