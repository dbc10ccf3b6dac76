"""From a host to a connection: one look-up, every address checked, and the one that is connected to checked again."""

from __future__ import annotations

import asyncio
import socket
import ssl
from functools import partial

from interlock.backends.egress.address import AddressPolicy
from interlock.backends.egress.connection import Connection
from interlock.backends.egress.failures import failed
from interlock.backends.egress.lookups import EACH, LookUps
from interlock.backends.egress.pool import Lost
from interlock.backends.egress.target import Origin, blocked_host
from interlock.core.errors import ErrorKind, InterlockError
from interlock.ports.egress import ASKER

_LOOKUP_SECONDS = 5.0
CONNECT_SECONDS = 10.0
"""So long connecting may take, TLS included; each address of a host but the last has an equal part of it."""

Address = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]


class CheckedResolver:
    """Resolves a host once and refuses it as a whole if one of its addresses is not permitted."""

    def __init__(self, policy: AddressPolicy) -> None:
        self._policy = policy
        self._look_ups = LookUps()

    async def resolve(self, host: str, port: int) -> list[Address]:
        """The addresses of ``host``, best first. Raises EGRESS_BLOCKED, EXTERNAL_SERVICE_ERROR or OSError."""
        look_up = partial(socket.getaddrinfo, host, port, socket.AF_UNSPEC, socket.SOCK_STREAM)
        asker = ASKER.get()
        try:
            async with asyncio.timeout(_LOOKUP_SECONDS):
                found = await self._look_ups.run(asker, look_up)
        except TimeoutError as error:
            raise _too_late(host, is_full=bool(asker) and self._look_ups.is_full(asker)) from error
        if not all(self._policy.permits(str(address[0])) for *_, address in found):
            raise blocked_host(host)
        return [(family, address) for family, _, _, _, address in found]  # type: ignore[misc]  # never a path

    def close(self) -> None:
        """Forget look-ups that wait; those under way end by themselves."""
        self._look_ups.close()


class Connector:
    """Connects to permitted addresses only; the name that was asked for stays in TLS."""

    def __init__(self, policy: AddressPolicy, tls: ssl.SSLContext | None, seconds: float = CONNECT_SECONDS) -> None:
        self._policy = policy
        self._tls = tls
        self._seconds = seconds
        self._resolver = CheckedResolver(policy)

    async def connect(self, origin: Origin, free: Lost, lost: Lost) -> Connection:
        """A new connection. Raises EGRESS_BLOCKED, EXTERNAL_SERVICE_ERROR with ``connected: false``."""
        addresses = await self._addresses(origin)
        try:
            async with asyncio.timeout(self._seconds):
                opened = await self._open(addresses)
                return await self._begin(origin, opened, free, lost)
        except ssl.SSLError as error:
            what = "has no valid TLS certificate for this name, or speaks no TLS"
            raise failed(origin, what, connected=False) from error
        except TimeoutError as error:
            what = f"could not be connected to within {self._seconds:g} seconds"
            raise failed(origin, what, retryable=True, connected=False) from error
        except OSError as error:
            raise failed(origin, "could not be connected to", retryable=True, connected=False) from error

    def close(self) -> None:
        """Forget look-ups that wait."""
        self._resolver.close()

    async def _addresses(self, origin: Origin) -> list[Address]:
        if origin.is_address:
            if not self._policy.permits(origin.host):
                raise blocked_host(origin.host)
            family = socket.AF_INET6 if ":" in origin.host else socket.AF_INET
            return [(family, (origin.host, origin.port))]
        try:
            return await self._resolver.resolve(origin.host, origin.port)
        except OSError as error:
            raise failed(origin, "could not be resolved", retryable=True, connected=False) from error

    async def _open(self, addresses: list[Address]) -> socket.socket:
        """A socket that is connected to the first address that answers. Raises OSError."""
        for address in addresses[:-1]:
            try:
                async with asyncio.timeout(self._seconds / len(addresses)):
                    return await self._open_one(address)
            except OSError:  # also the time out
                continue
        return await self._open_one(addresses[-1])

    async def _open_one(self, address: Address) -> socket.socket:
        family, place = address
        if not self._policy.permits(place[0]):  # the last gate, whichever way the address was found
            raise PermissionError("this address may not be connected to")
        opened = socket.socket(family, socket.SOCK_STREAM)
        try:
            opened.setblocking(False)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().sock_connect(opened, place)
        except BaseException:
            opened.close()
            raise
        return opened

    async def _begin(self, origin: Origin, opened: socket.socket, free: Lost, lost: Lost) -> Connection:
        loop = asyncio.get_running_loop()
        made = partial(Connection, origin, free, lost)
        tls, name = (self._secure(), origin.host.rstrip(".")) if origin.is_secure else (None, None)
        try:
            _, connection = await loop.create_connection(made, sock=opened, ssl=tls, server_hostname=name)
        except BaseException:
            opened.close()
            raise
        return connection

    def _secure(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls


def _too_late(host: str, *, is_full: bool) -> InterlockError:
    message = f"The host {host!r} could not be resolved within {_LOOKUP_SECONDS:g} seconds."
    if is_full:
        message += f" {EACH} look-ups of this tenant's calls hang; one that is slow holds up only its own tenant's."
    return InterlockError(ErrorKind.EXTERNAL, "EXTERNAL_SERVICE_ERROR", message, retryable=True)
