"""The model gateway as callers have it: one call, found, paid for, relayed and booked."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import msgspec

from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.models.answers import read_usage
from interlock.core.models.prices import Usage
from interlock.core.models.requests import ModelRequest, most_used, with_limit
from interlock.core.models.routing import Deployment, Routes, priced
from interlock.core.models.stream import StreamReader
from interlock.core.models.tokens import count_bytes
from interlock.core.principal import Principal, Scope
from interlock.ports.models import Answer, Provider
from interlock.ports.telemetry import CallOutcome
from interlock.services.models.attempts import Attempts, Opened
from interlock.services.models.embed import Completion, embed_in_batches
from interlock.services.models.holds import Hold, Holds
from interlock.services.models.once import Claimed
from interlock.services.models.work import Work

_FAILED: CallOutcome = "failed"
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

    @property
    def is_configured(self) -> bool:
        """Whether there is any model at all."""
        return self._routes.has_offers

    def offered(self, principal: Principal) -> tuple[Deployment, ...]:
        """The models that the caller may use, each with where it is asked first."""
        principal.require(Scope.MODELS_USE)
        return self._routes.offered(principal.allowed_models)

    def find(self, principal: Principal, model: str) -> tuple[Deployment, ...]:
        """The one model with where it is asked first, as ``offered`` tells of all; empty if the caller has none such.

        A provider that takes any name serves it too.
        """
        principal.require(Scope.MODELS_USE)
        allowed = principal.allowed_models
        return self._routes.offered((model,)) if allowed is None or model in allowed else ()

    def require(self, principal: Principal, request: ModelRequest) -> None:
        """Raise DENIED unless the caller may use all the models that it names."""
        principal.require(Scope.MODELS_USE)
        allowed = principal.allowed_models
        for model in request.models if allowed is not None else ():
            if model not in (allowed or ()):
                message = f"This credential may not use the model {model[:100]}"
                raise InterlockError(ErrorKind.DENIED, "AUTHORIZATION_FAILED", message, details={"field": "model"})

    async def complete(
        self,
        principal: Principal,
        request: ModelRequest,
        trace_id: str,
        *,
        claimed: Claimed | None = None,
        render: Callable[[Completion], bytes] | None = None,
    ) -> Completion:
        """The whole answer of a chat, or of embeddings in the order of their inputs.

        Its body is what ``render`` makes of it. It is kept where ``claimed`` says, in the commit that books the call.
        """
        request, deployments, hold = await self._begin(principal, request, trace_id)
        work, outcome = Work(deployments[0]), _FAILED
        try:
            completion = await self._answer(request, deployments, work, key_for(claimed))
            if render is not None:
                completion = msgspec.structs.replace(completion, body=render(completion))
            outcome = "succeeded"
            if claimed is not None:
                claimed.is_kept = True
                await hold.settle_with(work.deployment, work.used, Answer(claimed.place, completion.body))
            return completion
        except InterlockError:
            raise
        except BaseException:  # the caller left
            outcome = "cancelled"
            raise
        finally:
            hold.settle(work.deployment, work.used, outcome)

    async def stream(
        self, principal: Principal, request: ModelRequest, trace_id: str, *, claimed: Claimed | None = None
    ) -> RelayedStream:
        """An answer that has begun; the caller must close it."""
        request, deployments, hold = await self._begin(principal, request, trace_id)
        work = Work(deployments[0])
        try:
            opened = await self._attempts.open(request, deployments, key_for(claimed), work)
        except BaseException as error:
            hold.settle(work.deployment, work.used, _FAILED if isinstance(error, InterlockError) else "cancelled")
            raise
        return RelayedStream(request, opened, hold, claimed)

    async def _begin(
        self, principal: Principal, request: ModelRequest, trace_id: str
    ) -> tuple[ModelRequest, Sequence[Deployment], Hold]:
        self.require(principal, request)
        deployments = self._routes.find(request.models)
        hold = await self._holds.take(principal, request, deployments, trace_id)
        if hold.is_limited:
            return with_limit(request), priced(deployments), hold
        return request, deployments, hold

    async def _answer(
        self, request: ModelRequest, deployments: Sequence[Deployment], work: Work, key: str
    ) -> Completion:
        if request.kind == "embeddings":
            batch = self._providers[deployments[0].provider].batch_of(deployments[0].upstream)
            if batch is not None:
                same = [one for one in deployments if one.provider == deployments[0].provider]

                async def ask(part: ModelRequest, of: Sequence[Deployment]) -> Completion:
                    return await self._ask(part, of, work, key and f"{key}-{work.parts}")

                return await embed_in_batches(ask, request, same, batch)
        return await self._ask(request, deployments, work, key)

    async def _ask(self, request: ModelRequest, deployments: Sequence[Deployment], work: Work, key: str) -> Completion:
        """One call of one provider: its answer as it came, checked to be JSON. What it used is told to ``work``."""
        opened = await self._attempts.open(request, deployments, key, work)
        try:
            body = await opened.upstream.read(MAX_ANSWER)
            usage = read_usage(body, request.kind) or _estimated(request, len(body))
        except InterlockError as error:
            raise _broken_off(error) from error
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise _failed("The provider's answer is not JSON") from error
        finally:
            await opened.close()
        work.told(usage)
        return Completion(body, usage, opened.deployment)


class RelayedStream:
    """A stream on its way through, in whole events as the provider wrote them.

    ``pieces`` ends after ``data: [DONE]``; a failure in mid-stream raises LLM_PROVIDER_ERROR instead. ``close`` books
    what was used and leaves the provider; it must be called in any case, and may be called twice.
    """

    def __init__(self, request: ModelRequest, opened: Opened, hold: Hold, claimed: Claimed | None = None) -> None:
        self._claimed = claimed
        self._kept: bytes | None = None
        self._outcome: CallOutcome = "cancelled"
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
        """What was used until now: what the provider told, else our own count of what came; before that, the most.

        What it told before it went on says what was used by then, and is the least.
        """
        reader, told = self._reader, self._reader.usage
        if told is not None:
            if not reader.has_gone_on:
                return told
            return Usage(told.input_tokens, max(told.output_tokens, reader.output_tokens), is_estimated=True)
        if not reader.output_tokens and not reader.is_done:
            return most_used(self._request)
        return Usage(self._request.prompt_tokens, reader.output_tokens, is_estimated=True)

    @property
    def is_over(self) -> bool:
        """Whether all that ``pieces`` will ever yield is here."""
        return self._reader.is_over()

    async def pieces(self) -> AsyncIterator[bytes]:
        """Whole events, as many at a time as have come."""
        reader = self._reader
        self._outcome = _FAILED
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
        except BaseException:
            self._outcome = "cancelled"
            raise
        if reader.failure is not None:
            raise reader.failure
        if not reader.is_done:
            raise _failed("The provider broke off its answer")
        self._opened.upstream.suffices()
        self._outcome = "succeeded"

    def keep(self, body: bytes) -> None:
        """Keep what was made of the whole answer, in the commit that books it; to be said before ``close``."""
        self._kept = body

    async def close(self) -> None:
        """Leave the provider and book."""
        deployment = self._opened.deployment
        try:
            await self._opened.close()
        finally:
            if self._claimed is not None and self._kept is not None and self._outcome == "succeeded":
                self._claimed.is_kept = True
                await self._hold.settle_with(deployment, self.usage, Answer(self._claimed.place, self._kept))
            else:
                self._hold.settle(deployment, self.usage, self._outcome)


def key_for(claimed: Claimed | None) -> str:
    """The key by which a provider may know that it has done this work before; it tells nothing of ours."""
    if claimed is None:
        return ""
    place = claimed.place
    return hashlib.sha256(f"{place.tenant_id}\0{place.effect_key}".encode()).hexdigest()[:40]


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
