"""Runs: list, show, and read what happened."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from interlock.core.binary import ARROW, NUMPY
from interlock.core.errors import invalid
from interlock.doors.http.plumbing.attachment import File, attachment
from interlock.doors.http.plumbing.described import Cursor
from interlock.doors.http.plumbing.etag import tagged
from interlock.doors.http.plumbing.operation import Call, Reply
from interlock.doors.http.plumbing.replies import JsonReply
from interlock.doors.http.runs.door import status_of, statuses_among, words_in
from interlock.doors.http.runs.events import RunEvent, run_event
from interlock.doors.http.runs.run_object import (
    RunArtifact,
    RunObject,
    RunTask,
    artifact_object,
    run_detail,
    run_object,
    task_object,
)
from interlock.kit.instants import rfc3339
from interlock.services.executions.shown import with_lists
from interlock.services.nouns import ExecutionFilter, ExecutionRow, LogLine
from interlock.services.sessions.session import shown_id

MAX_WAIT_MS = 60_000
_MAX_SEQ = 2_147_483_647
_ENDINGS = {NUMPY: ".npy", ARROW: ".arrows", "application/json": ".json"}


class RunsQuery(msgspec.Struct, kw_only=True):
    """``kind`` is agent, graph or flow."""

    status: list[str] = []
    kind: str | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    cursor: Cursor | None = None


class RunList(msgspec.Struct, kw_only=True):
    """Newest first; ``next_cursor`` leads to the next page. With a status a page may have fewer than ``limit``."""

    runs: list[RunObject]
    next_cursor: str | None
    has_more: bool


class RunQuery(msgspec.Struct, kw_only=True):
    """With ``wait_ms`` the answer comes when the run rests or ends, or when that time is over."""

    wait_ms: Annotated[int, Meta(ge=0, le=MAX_WAIT_MS)] = 0


class RunTasks(msgspec.Struct, kw_only=True):
    """Those that began, in that order, then the others."""

    run_id: str
    tasks: list[RunTask]


class RunEventsQuery(msgspec.Struct, kw_only=True):
    after: Annotated[int, Meta(ge=0, le=_MAX_SEQ)] = 0
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 200


class RunEvents(msgspec.Struct, kw_only=True):
    """``next_after`` is where to go on, also while the run lasts."""

    run_id: str
    events: list[RunEvent]
    next_after: int
    has_more: bool


class RunArtifacts(msgspec.Struct, kw_only=True):
    artifacts: list[RunArtifact]


class RunLogQuery(msgspec.Struct, kw_only=True):
    """``task_id``: of that task alone."""

    after: Annotated[int, Meta(ge=0, le=9_007_199_254_740_991)] = 0
    limit: Annotated[int, Meta(ge=1, le=100)] = 50
    task_id: Annotated[str, Meta(max_length=200)] | None = None


class RunLogLine(msgspec.Struct, kw_only=True):
    """A text as the task printed it, of one line or many; ``number`` grows, with gaps."""

    number: int
    task_id: str
    attempt: int
    stream: str
    text: str
    timestamp: str


class RunLog(msgspec.Struct, kw_only=True):
    """``next_after`` is where to go on, also while the run lasts."""

    run_id: str
    logs: list[RunLogLine]
    next_after: int
    has_more: bool


async def found(call: Call[Any, Any]) -> ExecutionRow:
    """The run that the path names, by any of its ids. Raises DENIED, NOT_FOUND."""
    return await call.services.drafts.find_run(call.principal, call.path["run_id"])


async def list_runs(call: Call[None, RunsQuery]) -> Reply:
    """All executions of the tenant, newest first."""
    query = call.query
    words = words_in(query.status)
    wanted = ExecutionFilter(
        statuses=statuses_among(words), kind=query.kind, before=_before(query.cursor), limit=query.limit
    )
    rows = (await call.services.read_executions.page(call.principal, wanted)).items
    shown = [run_object(row) for row in rows if not words or status_of(row) in words]
    has_more = len(rows) == query.limit
    return JsonReply(
        RunList(runs=shown, next_cursor=str(rows[-1].execution_id) if has_more else None, has_more=has_more)
    )


def _before(cursor: str | None) -> UUID | None:
    if not cursor:
        return None
    try:
        return UUID(cursor)
    except ValueError:
        message = "The cursor is not one of this list; begin without one"
        raise invalid("INVALID_CURSOR", message, field="cursor") from None


async def get_run(call: Call[None, RunQuery]) -> Reply:
    """One run with its tasks."""
    row = await found(call)
    reads = call.services.read_executions
    if call.query.wait_ms:
        await reads.rest(call.principal, row.execution_id, call.query.wait_ms / 1000)
    detail = await reads.detail(call.principal, row.execution_id)
    artifacts = await reads.artifacts(call.principal, row.execution_id)
    tasks = call.services.list_tasks.of(detail)
    ended = msgspec.structs.replace(detail.row, output=await with_lists(detail.row.output))
    return tagged(run_detail(ended, tasks, artifacts, detail.pending), call.header("if-none-match"))


async def list_tasks(call: Call[None, None]) -> Reply:
    """The tasks of a run, with their attempts."""
    row = await found(call)
    tasks = await call.services.list_tasks(call.principal, row.execution_id)
    return JsonReply(RunTasks(run_id=shown_id(row), tasks=[task_object(task) for task in tasks]))


async def list_events(call: Call[None, RunEventsQuery]) -> Reply:
    """What happened to a run, in order."""
    row = await found(call)
    after, limit = call.query.after, call.query.limit
    records = await call.services.read_executions.events(call.principal, row.execution_id, after, limit)
    run_id = shown_id(row)
    return JsonReply(
        RunEvents(
            run_id=run_id,
            events=[event for record in records if (event := run_event(record, run_id)) is not None],
            next_after=records[-1].seq if records else after,
            has_more=len(records) == limit,
        )
    )


async def list_artifacts(call: Call[None, None]) -> Reply:
    """The files that a run made, by name."""
    row = await found(call)
    rows = await call.services.read_executions.artifacts(call.principal, row.execution_id)
    return JsonReply(RunArtifacts(artifacts=[artifact_object(each) for each in rows]))


async def get_artifact(call: Call[None, None]) -> Reply:
    """The content of a file that a run made."""
    row = await found(call)
    file, content = await call.services.read_executions.artifact(call.principal, row.execution_id, call.path["name"])
    return attachment(call, File(file.name, file.content_type, file.sha256, content))


async def get_value(call: Call[None, None]) -> Reply:
    """The bytes of a value that a run was given or its tasks gave: of a ``$binary``, or the JSON of an ``$omitted``."""
    row = await found(call)
    sha256 = call.path["sha256"]
    value = await call.services.read_value(call.principal, row.execution_id, sha256)
    name = f"{sha256[:16]}{_ENDINGS.get(value.content_type, '.bin')}"
    return attachment(call, File(name, value.content_type, sha256, value.content))


async def read_log(call: Call[None, RunLogQuery]) -> Reply:
    """What the tasks of a run printed, and the tracebacks of those that failed."""
    row = await found(call)
    query = call.query
    tasks = None if query.task_id is None else [query.task_id]
    lines = await call.services.read_task_log(call.principal, row.execution_id, query.after, query.limit, tasks)
    return JsonReply(
        RunLog(
            run_id=shown_id(row),
            logs=[_log_line(line) for line in lines],
            next_after=lines[-1].number if lines else query.after,
            has_more=len(lines) == query.limit,
        )
    )


def _log_line(line: LogLine) -> RunLogLine:
    return RunLogLine(
        number=line.number,
        task_id=line.task_id,
        attempt=line.attempt,
        stream=line.stream,
        text=line.content,
        timestamp=rfc3339(line.at),
    )
