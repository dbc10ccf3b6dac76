"""From a host to a socket: one look-up, every address checked, and a protocol that a hostile server cannot flood."""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler

from interlock.backends.egress.address import AddressPolicy
from interlock.backends.egress.lookups import EACH, LookUps
from interlock.backends.egress.target import blocked_host
from interlock.core.errors import ErrorKind, InterlockError
from interlock.ports.egress import ASKER

_LOOKUP_SECONDS = 5.0
_IDLE_SECONDS = 15.0
_MAX_CONNECTIONS = 1024
_HEAD_BYTES = 32_768  # status line and headers, with all 1xx answers before them
_FRAMING_RATIO = 8  # bytes received for each byte of body, before it is called a flood of framing
_FRAMING_GRACE = 524_288  # what may have been received and not yet be parsed, because the reader is slower


class CheckedResolver(AbstractResolver):
    """Resolve a host once and refuse it as a whole if one of its addresses is not permitted."""

    def __init__(self, policy: AddressPolicy) -> None:
        self._policy = policy
        self._look_ups = LookUps()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of ``host``. Raises EGRESS_BLOCKED, EXTERNAL_SERVICE_ERROR or OSError."""
        look_up = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM)
        asker = ASKER.get()
        try:
            async with asyncio.timeout(_LOOKUP_SECONDS):
                found = await self._look_ups.run(asker, look_up)
        except TimeoutError as error:
            raise _too_late(host, is_full=bool(asker) and self._look_ups.is_full(asker)) from error
        if not all(self._policy.permits(str(address[0])) for *_, address in found):
            raise blocked_host(host)
        return [_result(host, port, family, proto, str(address[0])) for family, _, proto, _, address in found]

    async def close(self) -> None:
        """Forget look-ups that wait; those under way end by themselves."""
        self._look_ups.close()


class BoundedHandler(ResponseHandler):
    """Reads one answer after the other and drops the connection when there is more framing than content.

    aiohttp bounds single headers, their number and the body buffer. It does not bound a stream of 1xx answers or
    of chunk extensions, either of which keeps the loop busy for as long as the server likes.
    """

    _answer: aiohttp.StreamReader | None = None
    _received = 0

    def set_response_params(self, **params: Any) -> None:
        """A new request begins on this connection."""
        self._answer = None
        self._received = 0
        super().set_response_params(**params)

    def feed_data(self, data: Any, size: int = 0) -> None:
        """The parser has read a head; a final one begins the body."""
        message, payload = data
        if not 100 <= message.code < 200:
            self._answer = payload
            self._received = 0
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        """Hand bytes to the parser, no more at a time than a head may have while the head is not complete.

        Without ``data`` the parser goes on with what it kept while the reader was slower.
        """
        if not data:
            super().data_received(data)
            return
        while data and self._answer is None and self._received < _HEAD_BYTES:
            part, data = data[: _HEAD_BYTES - self._received], data[_HEAD_BYTES - self._received :]
            self._received += len(part)
            super().data_received(part)
        if self._answer is not None:
            self._received += len(data)
            super().data_received(data)
            if self._received > self._answer.total_bytes * _FRAMING_RATIO + _FRAMING_GRACE:
                self._drop("the answer has much more framing than content")
        elif data:
            self._drop(f"the answer has more than {_HEAD_BYTES} bytes of headers")

    def _drop(self, reason: str) -> None:
        error = aiohttp.ClientPayloadError(reason)
        self.set_exception(error)
        if self._answer is not None:
            self._answer.set_exception(error)
        if self.transport is not None:
            self.transport.abort()


class GuardedConnector(aiohttp.TCPConnector):
    """Connects to permitted addresses only; the name that was asked for stays in Host and in TLS."""

    def __init__(self, policy: AddressPolicy, resolver: CheckedResolver) -> None:
        super().__init__(
            resolver=resolver,
            use_dns_cache=False,  # an answer is good for the one connection it was checked for
            socket_factory=partial(open_socket, policy),
            limit=_MAX_CONNECTIONS,
            keepalive_timeout=_IDLE_SECONDS,
        )
        handler: type[ResponseHandler] = BoundedHandler
        self._factory = partial(handler, loop=self._loop)


def open_socket(policy: AddressPolicy, address: Any) -> socket.socket:
    """The last gate before a connection, whichever way its address was found."""
    family, kind, proto, _, (host, *_) = address
    if not policy.permits(host):
        raise PermissionError("this address may not be connected to")
    return socket.socket(family, kind, proto)


def _result(host: str, port: int, family: int, proto: int, address: str) -> ResolveResult:
    return ResolveResult(
        hostname=host, host=address, port=port, family=family, proto=proto, flags=socket.AI_NUMERICHOST
    )


def _too_late(host: str, *, is_full: bool) -> InterlockError:
    message = f"The host {host!r} could not be resolved within {_LOOKUP_SECONDS:g} seconds."
    if is_full:
        message += f" {EACH} look-ups of this tenant's calls hang; one that is slow holds up only its own tenant's."
    return InterlockError(ErrorKind.EXTERNAL, "EXTERNAL_SERVICE_ERROR", message, retryable=True)
