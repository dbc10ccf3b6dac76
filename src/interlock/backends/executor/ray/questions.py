"""What a host asks of a server: bytes to keep and calls to make. The node itself has neither keys nor network."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from itertools import count

from interlock.backends.executor.ray.messages import (
    Answered,
    Call,
    Fetch,
    Fetched,
    Keep,
    Kept,
    Open,
    Opened,
    Question,
    Refused,
    Reply,
    write_line,
)
from interlock.backends.executor.ray.sessions import Key, Session
from interlock.backends.executor.results import Away
from interlock.backends.executor.services import FOR_ATTEMPT
from interlock.core.code import Code, Form
from interlock.core.errors import ErrorKind, InterlockError
from interlock.ports.egress import ASKER, EgressResponse
from interlock.ports.node import NodeFailed

ANSWERING = 120.0
"""Seconds for an answer; a call has the time beside it that was given to itself."""


class Asked:
    """A question that waits: for which attempt (``key``) it is, who was asked, and by which ``number`` of its lines.

    One that is not ``is_repeatable`` may have been carried out by a server that cannot be heard any more.
    """

    __slots__ = ("is_repeatable", "key", "line", "number", "reply", "session")

    def __init__(self, question: Question, key: Key | None) -> None:
        self.line = write_line(question)
        self.key = key
        self.is_repeatable = not isinstance(question, Call)
        self.reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.session: Session | None = None
        self.number = 0

    def put_to(self, session: Session | None) -> None:
        """Ask a server; without one there will be no answer."""
        if self.reply.done():
            return
        self.session = session
        if session is not None:
            self.number = session.say(self.line)
        else:
            self.reply.set_exception(Away("SERVER_GONE", "The server that the task was to ask is gone."))


class Questions:
    """Satisfies ``ports/egress.Egress`` and ``ports/blobs.Blobs``, as far as attempts need them, by asking.

    ``find_listener`` is told which attempt it is for, if that is known. All that asks raises Away SERVER_GONE if no
    answer comes in ``answering`` seconds, or none will.
    """

    is_shared = True

    def __init__(self, find_listener: Callable[[Key | None], Session | None], answering: float = ANSWERING) -> None:
        self._find_listener = find_listener
        self._answering = answering
        self._numbers = count(secrets.randbits(48))  # the next host on this node has others
        self._waiting: dict[int, Asked] = {}

    async def put(self, tenant_id: str, content: bytes) -> str:
        """Have bytes stored; their digest."""
        reply = await self._ask(lambda number: Keep(call=number, tenant_id=tenant_id, content=content))
        if not isinstance(reply, Kept):
            raise TypeError(f"the server answered with {type(reply).__name__}")
        return reply.sha256

    async def get(self, tenant_id: str, sha256: str) -> bytes:
        """Have bytes read. Raises what the server refuses with."""
        reply = await self._ask(lambda number: Open(call=number, tenant_id=tenant_id, sha256=sha256))
        if not isinstance(reply, Opened):
            raise TypeError(f"the server answered with {type(reply).__name__}")
        return reply.content

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
        """Have an HTTP call made as the port promises."""
        reply = await self._ask(
            lambda number: Call(
                call=number,
                tenant_id=ASKER.get(),
                method=method,
                url=url,
                headers=dict(headers),
                body=body,
                timeout=timeout,
                max_bytes=max_bytes,
                follow_redirects=follow_redirects,
            ),
            timeout,
        )
        if not isinstance(reply, Answered):
            raise TypeError(f"the server answered with {type(reply).__name__}")
        return reply.response

    async def fetch(self, tenant_id: str, digest: str) -> Code:
        """A piece of code as the server keeps it."""
        reply = await self._ask(lambda number: Fetch(call=number, tenant_id=tenant_id, digest=digest))
        if not isinstance(reply, Fetched):
            raise TypeError(f"the server answered with {type(reply).__name__}")
        return reply.code

    def answer(self, reply: Reply) -> None:
        """Hand a reply to whoever waits for it; a second one to the same question is dropped."""
        asked = self._waiting.get(reply.call)
        if asked is not None and not asked.reply.done():
            asked.reply.set_result(reply)

    def repeat(self, session: Session) -> None:
        """A way of a server broke, and with it maybe answers: what has arrived there is asked again, number and all."""
        for asked in self._waiting.values():
            if asked.session is session and session.has_arrived(asked.number):
                asked.put_to(session)

    def follow(self, key: Key) -> None:
        """Another server has taken an attempt over, and is asked from now on."""
        for asked in self._waiting.values():
            if asked.key == key:
                self._ask_another(asked)

    def forget(self, session: Session) -> None:
        """A server is gone: it answers nothing any more, but another one may."""
        for asked in self._waiting.values():
            if asked.session is session:
                self._ask_another(asked)

    def _ask_another(self, asked: Asked) -> None:
        asked.put_to(self._find_listener(asked.key) if asked.is_repeatable else None)

    async def _ask(self, question: Callable[[int], Question], more: float = 0.0) -> Reply:
        """The reply; ``more`` seconds may pass beside those that every answer has."""
        number, seconds = next(self._numbers), self._answering + more
        asked = self._waiting[number] = Asked(question(number), FOR_ATTEMPT.get())
        asked.put_to(self._find_listener(asked.key))
        try:
            async with asyncio.timeout(seconds):
                reply = await asked.reply
        except TimeoutError:
            raise Away("SERVER_GONE", f"The server did not answer the task within {seconds:g} seconds.") from None
        finally:
            del self._waiting[number]
        if isinstance(reply, Refused):
            raise _read_refusal(reply)
        return reply


class RemoteShelf:
    """Satisfies ``ports/code.CodeShelf`` on a node, which only reads. Nothing is kept here."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions

    async def put(self, tenant_id: str, author: str, form: Form, content: bytes) -> str:
        """Refused: code is stored by the server. Raises NodeFailed CODE_UNAVAILABLE."""
        raise NodeFailed("CODE_UNAVAILABLE", "Code is stored by the server, not on a node.")

    async def get(self, tenant_id: str, digest: str) -> Code:
        """The code. Raises what the server refuses with."""
        return await self._questions.fetch(tenant_id, digest)


def _read_refusal(refused: Refused) -> Exception:
    error = refused.error
    if refused.is_lost:
        return Away(error.code, error.message)
    if not refused.kind:
        return NodeFailed(error.code, error.message, retryable=error.retryable, details=error.details)
    return InterlockError(
        ErrorKind(refused.kind), error.code, error.message, details=error.details, retryable=error.retryable
    )
