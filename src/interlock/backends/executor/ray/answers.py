"""What hosts ask is done here, by the server that has the keys and the rules."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from interlock.backends.executor.circuits import CircuitEgress
from interlock.backends.executor.logs import log
from interlock.backends.executor.ray.messages import (
    Answered,
    Fetch,
    Fetched,
    Keep,
    Kept,
    Open,
    Opened,
    Question,
    Refused,
    Reply,
)
from interlock.backends.executor.results import failure_of, trace_back
from interlock.backends.executor.services import Host
from interlock.core.errors import InterlockError
from interlock.ports.code import CodeShelf
from interlock.ports.node import NodeFailed


class Answers:
    """Answers what hosts ask, each question by itself. ``send`` takes an answer to the host of a worker."""

    def __init__(self, host: Host, code: CodeShelf | None, send: Callable[[str, Reply], None]) -> None:
        self._host = host
        self._code = code
        self._send = send
        self._answering: set[asyncio.Task[None]] = set()

    def answer_later(self, worker: str, question: Question) -> None:
        """The answer will be sent."""
        task = asyncio.get_running_loop().create_task(self._answer(worker, question))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    def stop(self) -> None:
        """Nobody waits for answers any more."""
        for task in self._answering:
            task.cancel()

    async def _answer(self, worker: str, question: Question) -> None:
        self._send(worker, await answer(self._host, self._code, question))


async def answer(host: Host, code: CodeShelf | None, question: Question) -> Reply:
    """Do it, or say why not."""
    try:
        return await _carry_out(host, code, question)
    except Exception as error:  # noqa: BLE001 - whatever it is, an attempt waits for an answer
        trace = trace_back(error)
        if trace:
            log.error("executor.question_failed", question=type(question).__name__, traceback=trace)
        kind = str(error.kind) if isinstance(error, InterlockError) else ""
        return Refused(call=question.call, kind=kind, error=failure_of(error))


async def _carry_out(host: Host, code: CodeShelf | None, question: Question) -> Reply:
    if isinstance(question, Keep):
        return Kept(call=question.call, sha256=await host.blobs.put(question.tenant_id, question.content))
    if isinstance(question, Open):
        return Opened(call=question.call, content=await host.blobs.get(question.tenant_id, question.sha256))
    if isinstance(question, Fetch):
        if code is None:
            raise NodeFailed("CODE_UNAVAILABLE", "This server keeps no code of users.")
        return Fetched(call=question.call, code=await code.get(question.tenant_id, question.digest))
    egress = CircuitEgress(host.egress, host.circuits, question.tenant_id)
    response = await egress.request(
        question.method,
        question.url,
        headers=question.headers,
        body=question.body,
        timeout=question.timeout,
        max_bytes=question.max_bytes,
        follow_redirects=question.follow_redirects,
    )
    return Answered(call=question.call, response=response)
