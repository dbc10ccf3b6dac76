"""A child's services: each call is a message to the server and waits for its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, TypeVar

from interlock.backends.executor.pool.messages import Answer, Answered, Call, Message, Refused, Reported, Store, Stored
from interlock.backends.executor.results import report_progress
from interlock.backends.executor.services import Pace, check_artifact
from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.events import ArtifactRef
from interlock.core.models.requests import Kind
from interlock.ports.egress import Egress, EgressResponse
from interlock.ports.node import Attempt, NodeFailed
from interlock.ports.webhooks import WebhookCall

_Kind = TypeVar("_Kind")


class Calls:
    """Calls to the server that wait for their answers."""

    def __init__(self, say: Callable[[Message], None]) -> None:
        self.say = say
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[Answer]] = {}

    async def ask(self, question: Callable[[int], Store | Call]) -> Stored | Answered:
        """Send a question under a new number. Raises what the server refuses with."""
        number = next(self._numbers)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            self.say(question(number))
            answer = await future
        finally:
            del self._waiting[number]
        if isinstance(answer, Refused):
            raise _read_refusal(answer)
        return answer

    def answer(self, message: Answer) -> None:
        """Hand an answer to whoever waits for it."""
        future = self._waiting.get(message.call)
        if future is not None and not future.done():
            future.set_result(message)

    def end(self) -> None:
        """The attempt is over: nobody answers what is still asked."""
        for future in self._waiting.values():
            future.cancel()


class ChildServices:
    """Satisfies ``ports/node.Services`` in a child. What an attempt leaves running cannot use it any more."""

    def __init__(self, calls: Calls, attempt: Attempt) -> None:
        self._calls = calls
        self._attempt = attempt
        self._pace = Pace()
        self._is_open = True

    @property
    def egress(self) -> Egress:
        return ChildEgress(self)

    def close(self) -> None:
        """The attempt is over."""
        self._is_open = False
        self._calls.end()

    async def ask(self, question: Callable[[int], Store | Call]) -> Stored | Answered:
        """Ask the server. Raises what it refuses with, and NodeFailed ATTEMPT_OVER."""
        if not self._is_open:
            raise NodeFailed("ATTEMPT_OVER", "The attempt that these services belong to is over.")
        return await self._calls.ask(question)

    async def write_artifact(self, name: str, content: bytes, content_type: str) -> ArtifactRef:
        """Store a named output file. Raises NodeFailed: ARTIFACT_NAME_INVALID, ARTIFACT_TOO_LARGE."""
        check_artifact(name, len(content))
        answer = await self.ask(
            lambda number: Store(call=number, name=name, content=content, content_type=content_type)
        )
        return _expect(answer, Stored).ref

    async def webhook_call(self, node_id: str | None, seconds: float | None) -> WebhookCall:
        """Refused: secrets that sign never enter a child. Raises NodeFailed WEBHOOKS_UNAVAILABLE."""
        raise NodeFailed("WEBHOOKS_UNAVAILABLE", "Webhooks are called by the server itself, not in a child process.")

    async def model_call(self, kind: Kind, body: dict[str, Any]) -> dict[str, Any]:
        """Refused: models are asked by the server itself. Raises NodeFailed MODELS_UNAVAILABLE."""
        raise NodeFailed("MODELS_UNAVAILABLE", "Models are asked by the server itself, not in a child process.")

    def report(self, progress: float | None = None, message: str = "", data: Any = None) -> None:
        """Pass progress on, at most once a second; may be called in any thread."""
        if self._is_open and self._pace.is_due():
            self._calls.say(Reported(result=report_progress(self._attempt, progress, message, data)))


class ChildEgress:
    """Satisfies ``ports/egress.Egress``: the server makes the calls, under its rules."""

    def __init__(self, services: ChildServices) -> None:
        self._services = services

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
        """Make one HTTP call as the port promises."""
        answer = await self._services.ask(
            lambda number: Call(
                call=number,
                method=method,
                url=url,
                headers=dict(headers),
                body=body,
                timeout=timeout,
                max_bytes=max_bytes,
                follow_redirects=follow_redirects,
            )
        )
        return _expect(answer, Answered).response


def _expect(answer: object, kind: type[_Kind]) -> _Kind:
    if not isinstance(answer, kind):
        raise TypeError(f"the server answered with {type(answer).__name__} instead of {kind.__name__}")
    return answer


def _read_refusal(refused: Refused) -> Exception:
    error = refused.error
    if not refused.kind:
        return NodeFailed(error.code, error.message, retryable=error.retryable, details=error.details)
    return InterlockError(
        ErrorKind(refused.kind), error.code, error.message, details=error.details, retryable=error.retryable
    )
