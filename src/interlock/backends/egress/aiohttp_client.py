"""The guarded HTTP client over aiohttp."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urljoin

import aiohttp

from interlock.backends.egress.address import AddressPolicy
from interlock.backends.egress.body import read_body
from interlock.backends.egress.connect import CheckedResolver, GuardedConnector
from interlock.backends.egress.streamed import StreamedAnswer
from interlock.backends.egress.target import Target, blocked_host, check_headers, check_method, parse_target
from interlock.core.errors import ErrorKind, InterlockError, unavailable
from interlock.ports.egress import EgressResponse

_MAX_REDIRECTS = 5
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_FOLLOWED_METHODS = frozenset(("GET", "HEAD"))
_NO_LIMITS = aiohttp.ClientTimeout()  # of aiohttp's own; one deadline holds for the whole call
_NAME = "interlock"
_MAX_STREAMED = 64


class AiohttpEgress:
    """Satisfies ``ports/egress``. ``allow`` names the networks besides the public one: see AddressPolicy.

    ``tls`` replaces the default context where the operator has an authority of their own. Make it anywhere; use
    and close it in one event loop.
    """

    def __init__(self, allow: Sequence[str] = (), *, tls: ssl.SSLContext | None = None) -> None:
        self._policy = AddressPolicy(allow)
        self._tls: ssl.SSLContext | bool = tls or True
        self._resolver = CheckedResolver(self._policy)
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._streamed: dict[str, Target] = {}  # calls that stream go to the few addresses that the operator gave

    async def close(self) -> None:
        """Close all connections; calls made later are refused as unavailable. May be called twice."""
        self._closed = True
        await self._resolver.close()
        if self._session is not None:
            await self._session.close()

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout: float,
        max_bytes: int,
        follow_redirects: bool = False,
    ) -> EgressResponse:
        """Make one call as the port promises."""
        target = parse_target(url)
        method = check_method(method)
        check_headers(headers)
        hops = _MAX_REDIRECTS if follow_redirects and method in _FOLLOWED_METHODS else 0
        try:
            async with asyncio.timeout(timeout):
                return await self._follow(method, target, headers, body, max_bytes, hops)
        except TimeoutError as error:
            message = f"The call to {target.host!r} took longer than {timeout:g} seconds."
            raise InterlockError(ErrorKind.TIMEOUT, "TIMEOUT", message, retryable=True) from error

    @asynccontextmanager
    async def open(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None, timeout: float, idle: float
    ) -> AsyncIterator[StreamedAnswer]:
        """Make one call whose answer is read while it comes, as the port promises."""
        target = self._streamed.get(url)
        if target is None:
            target = self._permitted(url)
            if len(self._streamed) < _MAX_STREAMED:
                self._streamed[url] = target
        method = check_method(method)
        check_headers(headers)
        try:
            async with asyncio.timeout(timeout):
                response = await self._open_session().request(
                    method, target.url, headers=headers, data=body, allow_redirects=False, ssl=self._tls
                )
        except TimeoutError as error:
            message = f"The server {target.host!r} gave no answer within {timeout:g} seconds."
            raise InterlockError(ErrorKind.TIMEOUT, "TIMEOUT", message, retryable=True) from error
        except aiohttp.ClientError as error:
            raise _explain(target, error) from error
        try:
            yield StreamedAnswer(response, idle, lambda error: _explain(target, error))
        finally:
            response.close()  # a connection whose answer was read to its end is back in the pool already

    def _permitted(self, url: str) -> Target:
        target = parse_target(url)
        if target.is_address and not self._policy.permits(target.host):
            raise blocked_host(target.host)
        return target

    async def _follow(
        self, method: str, target: Target, headers: Mapping[str, str], body: bytes | None, max_bytes: int, hops: int
    ) -> EgressResponse:
        for _ in range(hops):
            answer = await self._call(method, target, headers, body, max_bytes)
            if answer.status not in _REDIRECTS or "location" not in answer.headers:
                return answer
            before, target = target, _next_target(target, answer.headers["location"])
            if target.url.origin() != before.url.origin():
                headers, body = {}, None  # what they hold is meant for the first origin
        answer = await self._call(method, target, headers, body, max_bytes)
        if hops and answer.status in _REDIRECTS:
            raise _failed(target, f"redirected more than {_MAX_REDIRECTS} times")
        return answer

    async def _call(
        self, method: str, target: Target, headers: Mapping[str, str], body: bytes | None, max_bytes: int
    ) -> EgressResponse:
        if target.is_address and not self._policy.permits(target.host):
            raise blocked_host(target.host)
        sent = {name: value for name, value in headers.items() if name.lower() != "accept-encoding"}
        try:
            async with self._open_session().request(
                method, target.url, headers=sent, data=body, allow_redirects=False, ssl=self._tls
            ) as response:
                return await _answer(response, target, max_bytes)
        except aiohttp.ClientError as error:
            raise _explain(target, error) from error

    def _open_session(self) -> aiohttp.ClientSession:
        if self._closed:
            raise unavailable("Outgoing calls have ended because the server is stopping.")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=GuardedConnector(self._policy, self._resolver),
                headers={"User-Agent": _NAME, "Accept-Encoding": "identity"},
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=_NO_LIMITS,
                auto_decompress=False,
                trust_env=False,
            )
        return self._session


async def _answer(response: aiohttp.ClientResponse, target: Target, max_bytes: int) -> EgressResponse:
    if response.status < 200:
        raise _failed(target, "switched to another protocol")
    body, truncated = await read_body(response, max_bytes)
    if truncated:
        response.close()  # the rest is not wanted, and the connection cannot be used again without it
    return EgressResponse(response.status, _plain_headers(response), body, truncated)


def _plain_headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    headers: dict[str, str] = {}
    for written, value in response.headers.items():
        name = written.lower()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if headers.pop("content-encoding", "identity") != "identity":
        headers.pop("content-length", None)  # it told the length before inflating
    return headers


def _next_target(target: Target, location: str) -> Target:
    try:
        return parse_target(urljoin(str(target.url), location))
    except ValueError as error:
        raise _failed(target, "redirected to something that is not a URL") from error


def _explain(target: Target, error: aiohttp.ClientError) -> InterlockError:
    """Say what went wrong in our words: those of the system may hold addresses."""
    match error:
        case aiohttp.ClientSSLError():
            return _failed(target, "has no valid TLS certificate for this name, or speaks no TLS", connected=False)
        case aiohttp.ClientConnectorDNSError():
            return _failed(target, "could not be resolved", retryable=True, connected=False)
        case aiohttp.ClientConnectorError():
            return _failed(target, "could not be connected to", retryable=True, connected=False)
        case aiohttp.ClientConnectionError():
            return _failed(target, "closed the connection before its answer was complete", retryable=True)
        case aiohttp.ClientPayloadError():
            return _failed(target, "gave an incomplete answer", retryable=True)
        case _:
            return _failed(target, "gave an answer that is not valid HTTP")


def _failed(target: Target, what: str, *, retryable: bool = False, connected: bool = True) -> InterlockError:
    host = f"{target.host}:{target.url.port}"
    return InterlockError(
        ErrorKind.EXTERNAL,
        "EXTERNAL_SERVICE_ERROR",
        f"The server {host} {what}.",
        details={"host": target.host} | ({} if connected else {"connected": False}),
        retryable=retryable,
    )
