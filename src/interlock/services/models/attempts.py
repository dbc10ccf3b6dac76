"""From the deployments of a model to an answer that has begun: tries, waits, and deployments that have a rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec

from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.models.answers import vendor_code
from interlock.core.models.requests import ModelRequest
from interlock.core.models.routing import Deployment
from interlock.kit.clock import Clock
from interlock.ports.models import Provider, Upstream
from interlock.services.models.work import Work

ROUNDS = 3
"""How often the deployments of a model are gone through."""
WAITS = (1.0, 2.0)
"""Seconds between the rounds, unless the provider says how long."""
MAX_WAIT = 20.0
"""A caller is not kept waiting longer than this for the next round."""
COOL_SECONDS = 5.0
"""A deployment that failed is left alone for so long while there is another."""

_MOST_RESTING = 256
"""Deployments that have a rest; of more, those that failed longest ago are asked again."""
_REFUSAL_BYTES = 65_536
_OPEN_ENDS = frozenset({408, 502, 504, 520, 524})
"""What proxies say when they do not know what became of a request."""
_CALLERS_FAULT = frozenset({400, 404, 413, 422})
_OVERDUE = "Arrearage"
"""The operator has not paid: a fault of nobody who calls, though its status says so."""


class TurnedAwayError(InterlockError):
    """This deployment will not serve the request, however often it is asked; another one may."""


class Opened:
    """An answer with status 200 that has begun; in a stream its first bytes are here. ``close`` ends the call."""

    __slots__ = ("_call", "deployment", "first", "pieces", "upstream")

    def __init__(
        self,
        deployment: Deployment,
        upstream: Upstream,
        call: AbstractAsyncContextManager[Upstream],
        pieces: AsyncIterator[bytes] | None,
        first: bytes,
    ) -> None:
        self.deployment = deployment
        self.upstream = upstream
        self.pieces = pieces
        self.first = first
        self._call: AbstractAsyncContextManager[Upstream] | None = call

    async def close(self) -> None:
        """Leave the provider; it need not go on."""
        call, self._call = self._call, None
        if call is not None:
            await call.__aexit__(None, None, None)


class Attempts:
    """Tries deployments in order, in at most three rounds, until an answer begins.

    Only 408, 429, 5xx and failed connections are tried again, and nothing after the first byte. A deployment that
    turns us away (401, 403, 404, an unpaid bill, an address that may not be called) is left out, and the others asked.
    """

    def __init__(
        self,
        providers: Mapping[str, Provider],
        clock: Clock,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._providers = providers
        self._clock = clock
        self._pause = pause
        self._cool_until: dict[Deployment, float] = {}

    async def open(
        self, request: ModelRequest, deployments: Sequence[Deployment], key: str = "", work: Work | None = None
    ) -> Opened:
        """An answer that has begun; all tries send the same ``key``, and ``work`` hears of them.

        Raises LLM_PROVIDER_ERROR, or RULE for what the provider finds wrong.
        """
        work = work or Work(deployments[0])
        last: InterlockError
        passing: InterlockError | None = None
        has_others = len(deployments) > 1
        for number in range(ROUNDS):
            wait: float | None = None
            for deployment in self._rested(deployments):
                try:
                    return await self._try(request, deployment, key, work)
                except TurnedAwayError as error:
                    deployments = [one for one in deployments if one is not deployment]
                    last = error
                except InterlockError as error:
                    if not error.retryable:
                        raise
                    last = passing = error
                    wait = max(wait or 0.0, error.retry_after or 0.0)
                if has_others:
                    self._cool(deployment, last.retry_after or COOL_SECONDS)
            if not deployments or number + 1 == ROUNDS or (wait or 0.0) > MAX_WAIT:
                break
            if wait is not None:  # else nobody said that it is worth waiting
                await self._pause(wait or WAITS[number])
        if deployments and passing is not None:  # that another one will not serve it says less than that this one may
            last = passing
        # The tries are used up here; a caller that tries again at once would only multiply them.
        raise InterlockError(last.kind, last.code, last.message, details=last.details, retry_after=last.retry_after)

    def _rested(self, deployments: Sequence[Deployment]) -> Sequence[Deployment]:
        if not self._cool_until:
            return deployments
        now = self._clock.monotonic()
        return [one for one in deployments if self._cool_until.get(one, 0.0) <= now] or deployments

    def _cool(self, deployment: Deployment, seconds: float) -> None:
        now = self._clock.monotonic()
        resting = [(one, until) for one, until in self._cool_until.items() if until > now and one != deployment]
        self._cool_until = {**dict(resting[1 - _MOST_RESTING :]), deployment: now + seconds}

    async def _try(self, request: ModelRequest, deployment: Deployment, key: str, work: Work) -> Opened:
        call = self._providers[deployment.provider].call(request.kind, body_for(request, deployment), key)
        work.sent(request, deployment)
        try:
            upstream = await call.__aenter__()
        except InterlockError as error:
            if _was_never_sent(error):
                work.refused()
            raise _worded(error) from error
        try:
            if upstream.status != 200:
                if upstream.status not in _OPEN_ENDS:
                    work.refused()
                raise await _refused(upstream)
            pieces = upstream.pieces() if request.is_stream else None
            first = await _first(pieces) if pieces is not None else b""
        except BaseException as error:
            await call.__aexit__(None, None, None)
            if isinstance(error, InterlockError):
                raise _worded(error) from error
            raise
        return Opened(deployment, upstream, call, pieces, first)


def body_for(request: ModelRequest, deployment: Deployment) -> bytes:
    """What the provider gets: the caller's fields, its own names of the model and the limit, a wish for the usage."""
    body = {**request.body, "model": deployment.upstream}
    if request.is_limited:
        body[deployment.limit_field] = request.max_tokens
    if request.is_stream:
        body["stream_options"] = {**(request.body.get("stream_options") or {}), "include_usage": True}
    return msgspec.json.encode(body)


async def _first(pieces: AsyncIterator[bytes]) -> bytes:
    async for piece in pieces:
        return piece
    raise _provider_error("The provider ended its answer before it began", retryable=True)


async def _refused(upstream: Upstream) -> InterlockError:
    """A refusal in our words: the provider's own may hold what callers should not see."""
    status = upstream.status
    try:
        code = vendor_code(await upstream.read(_REFUSAL_BYTES))
    except InterlockError:  # the status says enough
        code = None
    told = f"status {status}" + (f", {code}" if code else "")
    details = {"provider_code": code} if code else {}
    if status in _CALLERS_FAULT and code != _OVERDUE:
        kind = TurnedAwayError if status == 404 else InterlockError
        message = f"The provider refused the request ({told})"
        return kind(ErrorKind.RULE, "LLM_REQUEST_REFUSED", message, details=details)
    if status in (408, 429) or status >= 500:
        message = f"The provider did not answer ({told})"
        return _provider_error(message, retryable=True, retry_after=_retry_after(upstream.headers), details=details)
    return _turned_away(f"The provider does not serve this installation ({told})", details)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return max(0.0, min(float(headers[name]) * unit, 3600.0))
        except (KeyError, ValueError):
            continue
    return None


def _was_never_sent(error: InterlockError) -> bool:
    return error.kind is ErrorKind.DENIED or error.details.get("connected") is False


def _worded(error: InterlockError) -> InterlockError:
    """What went wrong on the way to a provider, without its address."""
    if error.code in ("LLM_PROVIDER_ERROR", "LLM_REQUEST_REFUSED"):
        return error
    if error.kind is ErrorKind.EXTERNAL:
        return _provider_error("The provider could not be reached", retryable=error.retryable)
    if error.kind is ErrorKind.TIMEOUT:  # it may be at work, and would be paid twice
        return _provider_error("The provider gave no answer in time", retryable=False)
    if error.kind is ErrorKind.DENIED:
        return _turned_away("The provider's address is not one that this server may call")
    return error


def _turned_away(message: str, details: dict[str, Any] | None = None) -> TurnedAwayError:
    return TurnedAwayError(ErrorKind.EXTERNAL, "LLM_PROVIDER_ERROR", message, details=details or {})


def _provider_error(
    message: str, *, retryable: bool, retry_after: float | None = None, details: dict[str, Any] | None = None
) -> InterlockError:
    return InterlockError(
        ErrorKind.EXTERNAL,
        "LLM_PROVIDER_ERROR",
        message,
        details=details or {},
        retryable=retryable,
        retry_after=retry_after,
    )
