"""From which address a request comes: the socket's, or what a proxy says whom the operator trusts."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_LOOPBACK = ("127.0.0.0/8", "::1/128")
_MAX_HOPS = 32
_NET_BITS = 64
"""Of an IPv6 address: one customer has all addresses of such a network."""


class ClientAddresses:
    """Finds the client behind ``trusted`` proxies: addresses, networks, or the word ``loopback``.

    The nearest address that is no trusted proxy's is the client's; what stands before it anybody may have written.
    """

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        texts = [text for entry in trusted for text in (_LOOPBACK if entry.lower() == "loopback" else (entry,))]
        self._trusted: tuple[Network, ...] = tuple(ip_network(text, strict=False) for text in texts)

    def find(self, peer: str, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """The client's address as text; empty where the socket has none."""
        if not self._trusted or not self._is_trusted(_address(peer)):
            return peer
        lines = [value for name, value in headers if name == b"x-forwarded-for"]
        hops = b",".join(lines).decode("latin-1").split(",")[-_MAX_HOPS:]
        nearest = peer
        for hop in reversed(hops):
            address = _address(_bare(hop))
            if address is None:  # whoever wrote this is not believed any further
                return nearest
            nearest = str(address)
            if not self._is_trusted(address):
                return nearest
        return nearest

    def is_proxy(self, peer: str) -> bool:
        """Whether the other end of a connection is a trusted proxy, which brings many clients."""
        return self._is_trusted(_address(peer))

    def _is_trusted(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._trusted)


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """What counts as one client: an IPv4 address, or the /64 network of an IPv6 address."""
    found = _address(address)
    if isinstance(found, IPv6Address):
        return str(IPv6Network((found, _NET_BITS), strict=False))
    return address if found is None else str(found)


@lru_cache(maxsize=4096)
def _address(text: str) -> Address | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


def _bare(hop: str) -> str:
    """An address without the port that some proxies write behind it."""
    hop = hop.strip()
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    host, colon, port = hop.rpartition(":")
    return host if colon and ":" not in host and port.isdecimal() else hop
