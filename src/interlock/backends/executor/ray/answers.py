"""What hosts ask is done here, by the server that has the keys and the rules."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from interlock.backends.executor.circuits import CircuitEgress
from interlock.backends.executor.logs import log
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
)
from interlock.backends.executor.results import failure_of, trace_back
from interlock.backends.executor.services import Host
from interlock.core.errors import InterlockError
from interlock.core.events import Failure
from interlock.ports.code import CodeShelf
from interlock.ports.node import NodeFailed

_REMEMBERED = 10_000
"""Calls of which it is known that they were made: far more than are made while a way to a host is found anew."""


class Answers:
    """Answers what hosts ask, each question by itself. ``send`` takes an answer to the host of a worker.

    A host asks again under the same number when the way between them broke. What is read or stored is then answered
    again; a call is made once, and if its answer was on its way, it is lost.
    """

    def __init__(self, host: Host, code: CodeShelf | None, send: Callable[[str, Reply], None]) -> None:
        self._host = host
        self._code = code
        self._send = send
        self._answering: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._called: OrderedDict[tuple[str, int], None] = OrderedDict()

    def answer_later(self, worker: str, question: Question) -> None:
        """The answer will be sent."""
        key = worker, question.call
        if key in self._answering:
            return  # the answer will take the way that there is then
        if isinstance(question, Call) and not self._may_call(key):
            self._send(worker, _lost(question))
            return
        self._answering[key] = asyncio.get_running_loop().create_task(self._answer(key, question))

    def stop(self) -> None:
        """Nobody waits for answers any more."""
        for task in self._answering.values():
            task.cancel()

    def _may_call(self, key: tuple[str, int]) -> bool:
        """Whether a call was not made yet; from now on it was."""
        if key in self._called:
            return False
        self._called[key] = None
        if len(self._called) > _REMEMBERED:
            self._called.popitem(last=False)
        return True

    async def _answer(self, key: tuple[str, int], question: Question) -> None:
        reply = await answer(self._host, self._code, question)
        del self._answering[key]  # before it is sent: a question that comes after that has not got it
        self._send(key[0], reply)


def _lost(question: Question) -> Refused:
    told = "The call was made, and its answer was lost on the way to the task."
    error = Failure(code="ANSWER_LOST", message=told, retryable=True)
    return Refused(call=question.call, kind="", error=error, is_lost=True)


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
