"""The model gateway as callers have it: one call, found, paid for, relayed and booked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec

from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.models.answers import read_usage
from interlock.core.models.prices import Usage
from interlock.core.models.requests import ModelRequest, with_limit
from interlock.core.models.routing import Deployment, Routes
from interlock.core.models.stream import StreamReader
from interlock.core.models.tokens import count_bytes
from interlock.core.principal import Principal, Scope
from interlock.ports.models import Provider
from interlock.services.models.attempts import Attempts, Opened
from interlock.services.models.embed import embed_in_batches
from interlock.services.models.holds import Hold, Holds

MAX_ANSWER = 32 * 1_048_576
"""Bytes of an answer that is not a stream."""


class Completion(msgspec.Struct, frozen=True):
    """A whole answer in OpenAI's shape."""

    body: bytes
    usage: Usage
    deployment: Deployment


class RelayModels:
    """What doors and nodes ask models through. Every call needs the scope ``models:use``.

    Methods raise RULE, DENIED, NOT_FOUND (no such model), LLM_NOT_CONFIGURED, BUDGET_EXCEEDED and
    LLM_PROVIDER_ERROR. Whatever ends a call, cancellation too, ends the provider's work and books what was used.
    """

    def __init__(self, routes: Routes, providers: Mapping[str, Provider], attempts: Attempts, holds: Holds) -> None:
        self._routes = routes
        self._providers = providers
        self._attempts = attempts
        self._holds = holds

    def names(self, principal: Principal) -> list[tuple[str, str]]:
        """The models that the caller may use, each with its provider."""
        principal.require(Scope.MODELS_USE)
        allowed = principal.allowed_models
        return [found for found in self._routes.names() if allowed is None or found[0] in allowed]

    async def complete(self, principal: Principal, request: ModelRequest, trace_id: str) -> Completion:
        """The whole answer of a chat, or of embeddings in the order of their inputs."""
        request, deployments, hold = await self._begin(principal, request, trace_id)
        asked: Deployment | None = None
        usage = Usage()
        try:
            asked = deployments[0]
            usage = Usage(request.prompt_tokens, 0, is_estimated=True)
            completion = await self._answer(request, deployments)
            asked, usage = completion.deployment, completion.usage
            return completion
        except InterlockError as error:
            if error.code in ("LLM_PROVIDER_ERROR", "LLM_REQUEST_REFUSED"):
                usage = Usage()  # a provider that refused is not paid
            raise
        finally:
            hold.settle(asked, usage)

    async def stream(self, principal: Principal, request: ModelRequest, trace_id: str) -> RelayedStream:
        """An answer that has begun; the caller must close it."""
        request, deployments, hold = await self._begin(principal, request, trace_id)
        try:
            opened = await self._attempts.open(request, deployments)
        except InterlockError:
            hold.settle(None, Usage())
            raise
        except BaseException:
            hold.settle(deployments[0], Usage(request.prompt_tokens, 0, is_estimated=True))
            raise
        return RelayedStream(request, opened, hold)

    async def _begin(
        self, principal: Principal, request: ModelRequest, trace_id: str
    ) -> tuple[ModelRequest, Sequence[Deployment], Hold]:
        principal.require(Scope.MODELS_USE)
        _require_allowed(principal, request)
        deployments = self._routes.find(request.models)
        hold = await self._holds.take(principal, request, deployments, trace_id)
        return (with_limit(request) if hold.is_limited else request), deployments, hold

    async def _answer(self, request: ModelRequest, deployments: Sequence[Deployment]) -> Completion:
        if request.kind == "embeddings":
            batch = self._providers[deployments[0].provider].batch_of(deployments[0].upstream)
            if batch is not None:
                same = [one for one in deployments if one.provider == deployments[0].provider]
                return Completion(*await embed_in_batches(self.ask, request, same, batch))
        body, usage, deployment = await self.ask(request, deployments)
        return Completion(body, usage, deployment)

    async def ask(
        self, request: ModelRequest, deployments: Sequence[Deployment]
    ) -> tuple[bytes, Usage, Deployment]:
        """One call of one provider: its answer as it came, checked to be JSON, with its usage or our estimate."""
        opened = await self._attempts.open(request, deployments)
        try:
            body = await opened.upstream.read(MAX_ANSWER)
            usage = read_usage(body)
        except InterlockError as error:
            raise _broken_off(error) from error
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise _failed("The provider's answer is not JSON") from error
        finally:
            await opened.close()
        return body, usage or _estimated(request, len(body)), opened.deployment


class RelayedStream:
    """A stream on its way through, in whole events as the provider wrote them.

    ``pieces`` ends after ``data: [DONE]``; a failure in mid-stream raises LLM_PROVIDER_ERROR instead. ``close`` books
    what was used and leaves the provider; it must be called in any case, and may be called twice.
    """

    def __init__(self, request: ModelRequest, opened: Opened, hold: Hold) -> None:
        self._request = request
        self._opened = opened
        self._hold = hold
        self._reader = StreamReader(keeps_usage=request.wants_usage)

    @property
    def model(self) -> str:
        """The name under which the provider was asked."""
        return self._opened.deployment.model

    @property
    def usage(self) -> Usage:
        """What was used until now: what the provider told, else our own count."""
        told = self._reader.usage
        return told or Usage(self._request.prompt_tokens, self._reader.output_tokens, is_estimated=True)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Whole events, as many at a time as have come."""
        reader = self._reader
        try:
            if ready := reader.feed(self._opened.first):
                yield ready
            if not reader.is_done and reader.failure is None and self._opened.pieces is not None:
                async for piece in self._opened.pieces:
                    if ready := reader.feed(piece):
                        yield ready
                    if reader.is_done or reader.failure is not None:
                        break
        except InterlockError as error:
            raise _broken_off(error) from error
        if reader.failure is not None:
            raise reader.failure
        if not reader.is_done:
            raise _failed("The provider broke off its answer")

    async def close(self) -> None:
        """Leave the provider and book."""
        try:
            await self._opened.close()
        finally:
            self._hold.settle(self._opened.deployment, self.usage)


def _require_allowed(principal: Principal, request: ModelRequest) -> None:
    allowed = principal.allowed_models
    for model in request.models:
        if allowed is not None and model not in allowed:
            message = f"This credential may not use the model {model[:100]}"
            raise InterlockError(ErrorKind.DENIED, "AUTHORIZATION_FAILED", message, details={"field": "model"})


def _estimated(request: ModelRequest, size: int) -> Usage:
    output = 0 if request.kind == "embeddings" else min(count_bytes(size), request.most_output)
    return Usage(request.prompt_tokens, output, is_estimated=True)


def _broken_off(error: InterlockError) -> InterlockError:
    if error.code == "LLM_PROVIDER_ERROR":
        return error
    what = "stopped in the middle of" if error.kind is ErrorKind.TIMEOUT else "broke off"
    return _failed(f"The provider {what} its answer")


def _failed(message: str) -> InterlockError:
    return InterlockError(ErrorKind.EXTERNAL, "LLM_PROVIDER_ERROR", message)
