"""Live streams of executions, framed for this door."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from interlock.doors.http.app.any_id import by_any_id
from interlock.doors.http.app.door import read_id
from interlock.doors.http.app.frames import sse_frame, sse_frame_of_workflow
from interlock.doors.http.plumbing.described import Since
from interlock.doors.http.plumbing.operation import Call, Reply
from interlock.doors.http.plumbing.replies import PRIVATE, EmptyReply
from interlock.doors.http.plumbing.sse import EventStream, resume_after
from interlock.services.executions.watch import Watch
from interlock.services.executions.watch_workflow import WorkflowWatch

STREAM_ALIASES = {"after": "since", "last_event_id": "since"}


class StreamQuery(msgspec.Struct, kw_only=True):
    """``since``: only events with a higher number. ``ticket``, ``access_token``: for browsers, which set no headers."""

    since: Since | None = None
    ticket: str | None = None
    access_token: str | None = None


class _ExecutionFrames:
    """The frames of one watch."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self.wake = watch.wake
        self.close = watch.close

    async def next(self, timeout: float) -> Sequence[bytes]:
        return [sse_frame(self._watch, fact) for fact in await self._watch.next(timeout)]


class _WorkflowFrames:
    """The frames of all executions of one workflow."""

    def __init__(self, watch: WorkflowWatch) -> None:
        self._watch = watch
        self.wake = watch.wake
        self.close = watch.close

    async def next(self, timeout: float) -> Sequence[bytes]:
        return [sse_frame_of_workflow(watch, fact) for watch, fact in await self._watch.next(timeout)]


@by_any_id
async def stream_execution(call: Call[None, StreamQuery]) -> Reply:
    """The events of an execution from a number on, then live, until its last one. 204 if nothing is left."""
    execution_id = read_id(call.path["execution_id"], "execution")
    after = resume_after(call.header("last-event-id"), call.query.since)
    watch = await call.services.watch_execution(call.principal, execution_id, after)
    if watch is None:
        return EmptyReply(204, PRIVATE)

    async def prove() -> None:
        await call.services.watch_execution.prove(call.principal, execution_id)

    return await EventStream.open(call, _ExecutionFrames(watch), prove)


async def stream_workflow(call: Call[None, StreamQuery]) -> Reply:
    """What happens to the executions of a workflow from now on. It has no end and cannot be resumed."""
    workflow_id = read_id(call.path["workflow_id"], "workflow")
    watch = await call.services.watch_workflow(call.principal, workflow_id)

    async def prove() -> None:
        await call.services.watch_workflow.prove(call.principal, workflow_id)

    return await EventStream.open(call, _WorkflowFrames(watch), prove)
