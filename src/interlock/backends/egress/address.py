"""Which addresses outgoing calls may reach: the public ones, and those that the operator allows."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from interlock.core.public_hosts import is_public, meant_by

_LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


class AddressPolicy:
    """The addresses that may be connected to: all public ones, and the networks that the operator allows.

    ``allow`` holds networks (``10.1.0.0/16``, ``fd00::/8``, a single address) and the word ``loopback``. Raises
    ValueError that names the entry which is neither.
    """

    def __init__(self, allow: Sequence[str] = ()) -> None:
        self._allowed = tuple(network for entry in allow for network in _networks(entry))

    def permits(self, address: str) -> bool:
        """Tell whether ``address``, one IPv4 or IPv6 address in its numeric form, may be connected to."""
        meant = meant_by(ip_address(address))
        return is_public(meant) or any(meant in network for network in self._allowed)


def _networks(entry: str) -> tuple[IPv4Network | IPv6Network, ...]:
    if entry.strip().lower() == "loopback":
        return _LOOPBACK
    try:
        return (ip_network(entry.strip()),)
    except ValueError as error:
        raise ValueError(f"{entry!r} is neither a network such as 10.1.0.0/16 nor the word loopback") from error
