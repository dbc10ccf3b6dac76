"""The guarded HTTP client: HTTP/1.1 over connections of its own, and never to an address that is not permitted."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import TracebackType
from typing import Any
from urllib.parse import urljoin

from interlock.backends.egress.address import AddressPolicy
from interlock.backends.egress.answer import Answer
from interlock.backends.egress.body import read_body
from interlock.backends.egress.connect import CONNECT_SECONDS, Connector
from interlock.backends.egress.failures import failed
from interlock.backends.egress.pool import MOST_OPEN, Pool
from interlock.backends.egress.request import Request, prepare
from interlock.backends.egress.shares import Shares
from interlock.backends.egress.target import Origin, Target, parse_target
from interlock.core.errors import ErrorKind, InterlockError, unavailable
from interlock.ports.egress import ASKER, EgressResponse

_MAX_REDIRECTS = 5
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_FOLLOWED_METHODS = frozenset(("GET", "HEAD"))
_REPEATABLE = frozenset(("GET", "HEAD", "PUT", "DELETE", "OPTIONS"))
_REMEMBERED = 256
_KEY = "Idempotency-Key"
MOST_OF_ONE = MOST_OPEN // 4
"""Calls of one tenant at a time: servers of one that hang leave connections for the others."""

Headers = tuple[tuple[str, str], ...]


class GuardedEgress:
    """Satisfies ``ports/egress``. ``allow`` names the networks besides the public one: see AddressPolicy.

    ``tls`` replaces the default context where the operator has an authority of their own. Make it anywhere; use
    and close it in one event loop. Whole calls for one ASKER are at most ``MOST_OF_ONE`` at a time, others wait.
    """

    def __init__(
        self,
        allow: Sequence[str] = (),
        *,
        tls: ssl.SSLContext | None = None,
        connect_seconds: float = CONNECT_SECONDS,
    ) -> None:
        self._connector = Connector(AddressPolicy(allow), tls, connect_seconds)
        self._pool = Pool(self._connector.connect)
        self._shares = Shares(MOST_OF_ONE, MOST_OPEN)
        self._prepared = lru_cache(_REMEMBERED)(_prepare)  # streamed calls differ in little but their bodies
        self._closed = False

    async def close(self) -> None:
        """Close all connections; calls made later are refused as unavailable. May be called twice."""
        self._closed = True
        self._connector.close()
        self._pool.close()
        self._prepared.cache_clear()

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
        request = _prepare(method, url, tuple(headers.items()))
        hops = _MAX_REDIRECTS if follow_redirects and request.method in _FOLLOWED_METHODS else 0
        asker, has_turn = ASKER.get(), False
        try:
            async with asyncio.timeout(timeout):
                await self._shares.take(asker)
                has_turn = True
                return await self._follow(request, body, timeout, max_bytes, hops)
        except TimeoutError as error:
            raise _too_late(request.target.origin, timeout, has_turn=has_turn) from error
        finally:
            if has_turn:
                self._shares.give(asker)

    def open(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None, timeout: float, idle: float
    ) -> Opening:
        """Make one call whose answer is read while it comes, as the port promises."""
        key = headers.get(_KEY)
        if key is None:
            return Opening(self, self._prepared(method, url, tuple(headers.items())), body, timeout, idle)
        # What is different in each call would only drive out what is remembered of others.
        rest = tuple(item for item in headers.items() if item[0] != _KEY)
        return Opening(self, self._prepared(method, url, rest).with_header(_KEY, key), body, timeout, idle)

    async def begin(
        self, request: Request, body: bytes | None, head: float, idle: float | None, *, may_repeat: bool
    ) -> Answer:
        """Send a request and wait for the head of its answer at most ``head`` seconds. Raises TimeoutError.

        A connection that had waited may be closed just when the request is sent; then, if that is allowed, and
        nothing was heard, it goes out once more.
        """
        if self._closed:
            raise unavailable("Outgoing calls have ended because the server is stopping.")
        message, is_head = request.message(body), request.method == "HEAD"
        connection = self._pool.reuse(request.target.origin)
        if connection is not None:
            answer = connection.send(message, idle, is_head=is_head)
            try:
                return await _begun(answer, head)
            except InterlockError:
                if connection.has_heard or not may_repeat:
                    raise
        async with asyncio.timeout(head):
            connection = await self._pool.make(request.target.origin)
            return await _begun(connection.send(message, idle, is_head=is_head), None)

    async def _follow(
        self, request: Request, body: bytes | None, timeout: float, max_bytes: int, hops: int
    ) -> EgressResponse:
        headers = request.headers
        for _ in range(hops):
            answer = await self._call(request, body, timeout, max_bytes)
            if not _is_redirect(answer):
                return answer
            target = _next_target(request.target, answer.headers["location"])
            if target.origin != request.target.origin:
                headers, body = (), None  # what they hold is meant for the first origin
            request = prepare(request.method, target, headers)
        answer = await self._call(request, body, timeout, max_bytes)
        if hops and _is_redirect(answer):
            raise failed(request.target.origin, f"redirected more than {_MAX_REDIRECTS} times")
        return answer

    async def _call(self, request: Request, body: bytes | None, timeout: float, max_bytes: int) -> EgressResponse:
        answer = await self.begin(request, body, timeout, None, may_repeat=request.method in _REPEATABLE)
        try:
            kept, truncated = await read_body(answer, max_bytes)
        finally:
            answer.leave()
        return EgressResponse(answer.status, _plain(answer.headers), kept, truncated)


class Opening:
    """A call whose answer begins within ``timeout`` seconds when the context is entered, and ends with it."""

    __slots__ = ("_answer", "_body", "_egress", "_idle", "_request", "_timeout")

    def __init__(
        self, egress: GuardedEgress, request: Request, body: bytes | None, timeout: float, idle: float
    ) -> None:
        self._egress = egress
        self._request = request
        self._body = body
        self._timeout = timeout
        self._idle = idle

    async def __aenter__(self) -> Answer:
        try:
            self._answer = await self._egress.begin(
                self._request, self._body, self._timeout, self._idle, may_repeat=True
            )
        except TimeoutError as error:
            host = self._request.target.origin.host
            message = f"The server {host!r} gave no answer within {self._timeout:g} seconds."
            raise InterlockError(ErrorKind.TIMEOUT, "TIMEOUT", message, retryable=True) from error
        return self._answer

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._answer.leave()


async def _begun(answer: Answer, seconds: float | None) -> Answer:
    try:
        await answer.head(seconds)
    except BaseException:
        answer.leave()
        raise
    return answer


def _prepare(method: str, url: str, headers: Headers) -> Request:
    return prepare(method, parse_target(url), headers)


def _is_redirect(answer: EgressResponse) -> bool:
    return answer.status in _REDIRECTS and "location" in answer.headers


def _too_late(origin: Origin, seconds: float, *, has_turn: bool) -> InterlockError:
    if has_turn:
        message, details = f"The call to {origin.host!r} took longer than {seconds:g} seconds.", dict[str, Any]()
    else:
        message = f"The call to {origin.host!r} had no turn within {seconds:g} seconds: "
        message += f"{MOST_OF_ONE} calls of this tenant were under way."
        details = {"connected": False}
    return InterlockError(ErrorKind.TIMEOUT, "TIMEOUT", message, details=details, retryable=True)


def _plain(headers: Mapping[str, str]) -> dict[str, str]:
    plain = dict(headers)
    if plain.pop("content-encoding", "identity") != "identity":
        plain.pop("content-length", None)  # it told the length before inflating
    return plain


def _next_target(target: Target, location: str) -> Target:
    try:
        return parse_target(urljoin(str(target.url), location))
    except ValueError as error:
        raise failed(target.origin, "redirected to something that is not a URL") from error
