"""One place in the pool: a child from its start to its death, and the job it has."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Hashable

from interlock.backends.executor.logs import log_dead_child, log_node_error
from interlock.backends.executor.pool.bounds import MAX_UNREAD, Patience
from interlock.backends.executor.pool.cell import Cell
from interlock.backends.executor.pool.job import Job
from interlock.backends.executor.pool.messages import (
    Answered,
    Call,
    Ending,
    Erred,
    FromChild,
    Printed,
    Ready,
    Refused,
    Reported,
    Run,
    Store,
    Stored,
    Succeeded,
    Suspended,
    Unable,
    Worn,
)
from interlock.backends.executor.pool.process import ChildProcess
from interlock.backends.executor.results import Away, fail, give_up, time_out, trace_back
from interlock.backends.executor.services import FOR_ATTEMPT
from interlock.core.commands import AttemptLost
from interlock.core.errors import InterlockError
from interlock.core.events import Failure
from interlock.ports.executor import Result
from interlock.ports.node import NodeFailed

_CONTENT_TYPE = re.compile(r"[\w.+-]{1,64}/[\w.+-]{1,64}(; ?[\w-]{1,32}=[\w.-]{1,64})?", re.ASCII)
_MAX_CALLS = 256
"""Calls of one child that may wait for their answers; one with more is up to no good."""
_START_LIMIT = 60.0
"""Seconds for a child to load its registry."""


class Seat:
    """A child and its job, if it has one.

    Tells ``on_idle`` when it can take a job, and ``on_end`` what became of one; the end of ``live`` is its own.
    Idle for ``idle_seconds`` it ends, but for one that has run nothing yet, if these are kept (``is_kept``).
    """

    def __init__(
        self,
        cell: Cell,
        *,
        recycle_after: int,
        idle_seconds: float | None,
        is_kept: bool = False,
        on_end: Callable[[Job, Result], None],
        on_idle: Callable[[Seat], None],
    ) -> None:
        self._cell = cell
        self._process = ChildProcess(cell, self._hear)
        self._patience = Patience()
        self._idle_seconds = idle_seconds
        self._is_kept = is_kept
        self.key: Hashable = None
        self._recycle_after = recycle_after
        self._on_end = on_end
        self._on_idle = on_idle
        self._timer: asyncio.TimerHandle | None = None
        self._answering: set[asyncio.Task[None]] = set()
        self._job: Job | None = None
        self._attempts = 0
        self._is_timed_out = False
        self._is_worn = False
        self.is_ready = False
        self.is_leaving = False
        self.start_error = ""

    @property
    def is_idle(self) -> bool:
        """Whether it can take a job now."""
        return self.is_ready and not self.is_leaving and self._job is None

    @property
    def is_fresh(self) -> bool:
        """Whether its child has run nothing yet."""
        return self._attempts == 0

    async def live(self) -> None:
        """Start the child and serve it until it is dead. Whatever it had then is reported."""
        self._set_timer(_START_LIMIT, self._give_up_start)
        try:
            self._cell.open()
            await self._process.start()
            await self._process.silent()
        except OSError as error:
            self.start_error = f"the process cannot be started: {error}"
        finally:
            self.is_leaving = True
            self._forget_calls()
            code = await self._process.end()
            has_run_out = self._cell.has_run_out
            self._cell.clear()
            self._bury(code, has_run_out=has_run_out)

    def give(self, job: Job) -> None:
        """Have an idle child run a job."""
        self._stop_timer()
        self._job = job
        job.seat = self
        was_fresh = self.is_fresh
        attempt = job.attempt if was_fresh else job.again
        try:
            if was_fresh:
                self._cell.suit(job.attempt)
            self._attempts += 1
            self.key = job.key
            self._process.say(Run(attempt=attempt))
        except (NodeFailed, TypeError) as error:  # an attempt that cannot be sent would be lost again and again
            if was_fresh:
                self.leave()  # it has not got what later attempts with this key are sent without
            self._end(give_up(job.attempt, error, has_begun=False))
            return
        self._set_timer(max(0.0, job.attempt.timeout - job.spent), self._time_out)

    def leave(self) -> None:
        """Have the child killed, with its job if it has one; ``live`` ends when it is dead."""
        self.is_leaving = True
        self._process.let_go()

    def kill_guard(self) -> None:
        """The last resort, when the child does not die."""
        self._process.kill_guard()

    def _hear(self, message: FromChild, since: float) -> float:
        """Act on a message whose reading began at ``since``; for how many seconds the child has to wait then."""
        if self._take(message) or self._cell.is_trusted or self.is_leaving:
            return 0.0
        return self._patience.rest(since)

    def _take(self, message: FromChild) -> bool:
        """Act on a message; whether it was of use."""
        job = self._job
        if job is not None:
            job.has_begun = True
        match message:
            case Ready():
                if self.is_ready:
                    return False  # or a child could stop the clock of its attempt
                self._stop_timer()
                self.is_ready = True
                self._rest()
                self._on_idle(self)
            case Unable(reason=reason):
                self.start_error = reason
            case Worn():
                if job is None or self._is_worn:
                    return False
                self._is_worn = True
            case Reported(result=result):
                if job is None or not job.is_meant(result) or not job.bounds.may_report():
                    return False
                job.tell(result)
            case Printed(stream=stream, text=text):
                return self._take_text(stream, text)
            case Store() | Call():
                return self._answer_later(message)
            case Succeeded() | Suspended() | Erred():
                return self._take_ending(message)
        return True

    def _take_text(self, stream: str, text: str) -> bool:
        job = self._job
        kept = job.bounds.cut(text) if job is not None and not job.is_dropped else ""
        if job is None or not kept:
            return False
        job.on_printed("stderr" if stream == "stderr" else "stdout", kept)
        return True

    def _rest(self) -> None:
        """Nothing to do: for some time, if there is an end to it."""
        if self._idle_seconds is not None and self.is_idle and not (self._is_kept and self.is_fresh):
            self._set_timer(self._idle_seconds, self.leave)

    def _take_ending(self, message: Ending) -> bool:
        job = self._job
        if job is None or not job.is_meant(message.result) or self.is_leaving:
            return False
        if isinstance(message, Erred) and message.trace:
            log_node_error(job.attempt, message.trace)
        if isinstance(message, Erred) and job.services.away is not None:
            self._end(give_up(job.attempt, job.services.away, has_begun=True))
        else:
            self._end(message.result)
        return True

    def _end(self, result: Result) -> None:
        """The job is over, and the child is free for another one or has served its time."""
        job, self._job = self._job, None
        self._stop_timer()
        self._forget_calls()
        if job is None:
            return
        if job.attempt.isolated or self._is_worn or self._attempts >= self._recycle_after:
            self.leave()
        self._on_end(job, result)
        self._rest()
        if self.is_idle:
            self._on_idle(self)

    def _bury(self, code: int | None, *, has_run_out: bool) -> None:
        """The child is dead: say so, unless it was meant to die."""
        self._stop_timer()
        job, self._job = self._job, None
        if job is None or job.is_dropped:
            return
        if self._is_timed_out:
            self._on_end(job, time_out(job.attempt))
            return
        log_dead_child(job.attempt, code)
        attempt = job.attempt
        if job.has_begun or has_run_out or not self._process.left_unread:  # it may have died of what it read
            self._on_end(job, AttemptLost(task_id=attempt.task_id, attempt=attempt.attempt, crashed=True))
        else:  # where all die like this the attempts must not follow each other at once
            self._on_end(job, give_up(attempt, Away("CHILD_DIED", "The process died before it began"), has_begun=False))

    def _time_out(self) -> None:
        self._is_timed_out = True
        self.leave()

    def _give_up_start(self) -> None:
        self.start_error = f"it was not ready after {_START_LIMIT:g} seconds"
        self.leave()

    def _set_timer(self, seconds: float, then: Callable[[], None]) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, then)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # The calls of a child

    def _answer_later(self, question: Store | Call) -> bool:
        if self._job is None:
            return False  # asked by what a former attempt left running; nobody there waits for an answer
        if len(self._answering) >= _MAX_CALLS or self._process.unread > MAX_UNREAD:
            self.leave()
            return False
        try:
            self._check(self._job, question)
        except NodeFailed as error:
            self._process.say(_refuse(question, fail(self._job.attempt, error).error, error))
            return False
        task = asyncio.get_running_loop().create_task(self._answer(self._job, question))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)
        return True

    def _check(self, job: Job, question: Store | Call) -> None:
        """Raise NodeFailed for what users' code may not have."""
        if not self._cell.is_trusted:
            job.bounds.check(question)

    async def _answer(self, job: Job, question: Store | Call) -> None:
        FOR_ATTEMPT.set((job.attempt.execution_id, job.attempt.task_id))  # of this task of the loop alone
        try:
            self._process.say(await _carry_out(job, question))
        except Exception as error:  # noqa: BLE001 - whatever it is, the child waits for an answer
            trace = trace_back(error)
            if trace:
                log_node_error(job.attempt, trace)
            if isinstance(error, Away):  # another server could not be called; what that one says is the task's affair
                job.services.away = error
            self._process.say(_refuse(question, fail(job.attempt, error).error, error))

    def _forget_calls(self) -> None:
        for task in self._answering:
            task.cancel()


async def _carry_out(job: Job, question: Store | Call) -> Stored | Answered:
    if isinstance(question, Store):
        ref = await job.services.write_artifact(question.name, question.content, _plain(question.content_type))
        job.on_stored(ref)
        return Stored(call=question.call, ref=ref)
    response = await job.services.egress.request(
        question.method,
        question.url,
        headers=question.headers,
        body=question.body,
        timeout=question.timeout,
        max_bytes=question.max_bytes,
        follow_redirects=question.follow_redirects,
    )
    return Answered(call=question.call, response=response)


def _plain(content_type: str) -> str:
    """A content type that may stand in a header, whatever a child says."""
    return content_type if _CONTENT_TYPE.fullmatch(content_type) else "application/octet-stream"


def _refuse(question: Store | Call, failure: Failure, error: Exception) -> Refused:
    kind = str(error.kind) if isinstance(error, InterlockError) else ""
    return Refused(call=question.call, kind=kind, error=failure)
