"""Which addresses outgoing calls may reach: pure rules about numbers, no look-ups."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

_LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
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


class AddressPolicy:
    """The addresses that may be connected to: all public ones, and the networks that the operator allows.

    ``allow`` holds networks (``10.1.0.0/16``, ``fd00::/8``, a single address) and the word ``loopback``. Raises
    ValueError that names the entry which is neither.
    """

    def __init__(self, allow: Sequence[str] = ()) -> None:
        self._allowed = tuple(network for entry in allow for network in _networks(entry))

    def permits(self, address: str) -> bool:
        """Tell whether ``address``, one IPv4 or IPv6 address in its numeric form, may be connected to."""
        meant = _unmapped(ip_address(address))
        return _is_public(meant) or any(meant in network for network in self._allowed)


def _networks(entry: str) -> tuple[IPv4Network | IPv6Network, ...]:
    if entry.strip().lower() == "loopback":
        return _LOOPBACK
    try:
        return (ip_network(entry.strip()),)
    except ValueError as error:
        raise ValueError(f"{entry!r} is neither a network such as 10.1.0.0/16 nor the word loopback") from error


def _unmapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that a mapped or NAT64 address leads to, else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address) and address not in _IPV6_UNICAST:
        return False
    if address.is_multicast or address.is_reserved or not address.is_global:
        return False
    return not any(address in network for network in _NOT_PUBLIC)
