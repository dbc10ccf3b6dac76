"""Addresses that are stored to be called later: what can be said of them at once, without a look-up."""

from __future__ import annotations

from interlock.backends.egress.address import AddressPolicy
from interlock.backends.egress.target import blocked_host, parse_target

_LOCAL = "localhost"
_LOCAL_ADDRESS = "127.0.0.1"


class StoredUrls:
    """Satisfies ``ports/egress.CheckUrl`` for calls that go by this policy.

    Other names than those of this machine say nothing about where they lead: they are looked up at each call.
    """

    def __init__(self, policy: AddressPolicy) -> None:
        self._policy = policy

    def __call__(self, url: str) -> None:
        """Raise EGRESS_BLOCKED if no call to ``url`` would ever be made."""
        origin = parse_target(url).origin
        address = origin.host if origin.is_address else _address_of(origin.host)
        if address is not None and not self._policy.permits(address):
            raise blocked_host(origin.host)


def _address_of(name: str) -> str | None:
    """Where a name leads everywhere; None if only a look-up can tell."""
    last = name.rstrip(".").rpartition(".")[2]
    return _LOCAL_ADDRESS if last == _LOCAL else None
