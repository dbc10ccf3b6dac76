"""The model gateway as callers have it: one call, found, paid for, relayed and booked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec

from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.models.answers import read_usage
from interlock.core.models.prices import Usage, total
from interlock.core.models.requests import ModelRequest, with_limit
from interlock.core.models.routing import Deployment, Routes, priced
from interlock.core.models.stream import StreamReader
from interlock.core.models.tokens import count_bytes
from interlock.core.principal import Principal, Scope
from interlock.ports.models import Provider
from interlock.services.models.attempts import Attempts, Opened
from interlock.services.models.embed import Completion, embed_in_batches
from interlock.services.models.holds import Hold, Holds

MAX_ANSWER = 32 * 1_048_576
"""Bytes of an answer that is not a stream."""


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
        used: list[Usage] = []
        answered = deployments[0]
        try:
            completion = await self._answer(request, deployments, used)
            answered = completion.deployment
            return completion
        except InterlockError:
            raise
        except BaseException:  # the caller left: what the provider did until now has its price
            used.append(Usage(request.prompt_tokens, 0, is_estimated=True))
            raise
        finally:
            hold.settle(answered, total(used))

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
        if hold.is_limited:
            return with_limit(request), priced(deployments), hold
        return request, deployments, hold

    async def _answer(self, request: ModelRequest, deployments: Sequence[Deployment], used: list[Usage]) -> Completion:
        async def ask(request: ModelRequest, deployments: Sequence[Deployment]) -> Completion:
            return await self._ask(request, deployments, used)

        if request.kind == "embeddings":
            batch = self._providers[deployments[0].provider].batch_of(deployments[0].upstream)
            if batch is not None:
                same = [one for one in deployments if one.provider == deployments[0].provider]
                return await embed_in_batches(ask, request, same, batch)
        return await ask(request, deployments)

    async def _ask(self, request: ModelRequest, deployments: Sequence[Deployment], used: list[Usage]) -> Completion:
        """One call of one provider: its answer as it came, checked to be JSON. What it used is added to ``used``."""
        opened = await self._attempts.open(request, deployments)
        usage = Usage(request.prompt_tokens, 0, is_estimated=True)  # of an answer that breaks off
        try:
            body = await opened.upstream.read(MAX_ANSWER)
            usage = read_usage(body) or _estimated(request, len(body))
        except InterlockError as error:
            raise _broken_off(error) from error
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise _failed("The provider's answer is not JSON") from error
        finally:
            used.append(usage)
            await opened.close()
        return Completion(body, usage, opened.deployment)


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
            if not reader.is_over() and self._opened.pieces is not None:
                async for piece in self._opened.pieces:
                    if ready := reader.feed(piece):
                        yield ready
                    if reader.is_over():
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
