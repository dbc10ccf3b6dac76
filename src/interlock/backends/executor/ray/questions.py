"""What a host asks of a server: bytes to keep and calls to make. The node itself has neither keys nor network."""

from __future__ import annotations

import asyncio
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
from interlock.backends.executor.ray.sessions import Session
from interlock.core.code import Code, Form
from interlock.core.errors import ErrorKind, InterlockError
from interlock.ports.egress import ASKER, EgressResponse
from interlock.ports.node import NodeFailed


class Questions:
    """Satisfies ``ports/egress.Egress`` and ``ports/blobs.Blobs``, as far as attempts need them, by asking."""

    is_shared = True

    def __init__(self, find_listener: Callable[[], Session | None]) -> None:
        self._find_listener = find_listener
        self._numbers = count(1)
        self._waiting: dict[int, tuple[Session, asyncio.Future[Reply]]] = {}

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
            )
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
        """Hand a reply to whoever waits for it."""
        _, future = self._waiting.get(reply.call, (None, None))
        if future is not None and not future.done():
            future.set_result(reply)

    def forget(self, session: Session) -> None:
        """A server is gone: it answers nothing any more."""
        for asked, future in list(self._waiting.values()):
            if asked is session and not future.done():
                future.set_exception(_gone())

    async def _ask(self, question: Callable[[int], Question]) -> Reply:
        session = self._find_listener()
        if session is None:
            raise _gone()
        number = next(self._numbers)
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[number] = (session, future)
        try:
            session.say(write_line(question(number)))
            reply = await future
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


def _gone() -> NodeFailed:
    return NodeFailed("SERVER_GONE", "The server that the task was to ask is gone.", retryable=True)


def _read_refusal(refused: Refused) -> Exception:
    error = refused.error
    if not refused.kind:
        return NodeFailed(error.code, error.message, retryable=error.retryable, details=error.details)
    return InterlockError(
        ErrorKind(refused.kind), error.code, error.message, details=error.details, retryable=error.retryable
    )
