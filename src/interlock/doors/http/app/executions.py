"""Executions: start, list, show, signal, pause and cancel."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from interlock.core.errors import invalid
from interlock.core.execution import ENDED
from interlock.doors.http.app.any_id import by_any_id
from interlock.doors.http.app.door import read_id
from interlock.doors.http.app.execution_object import ExecutionSummary, execution_object, execution_summary
from interlock.doors.http.app.statuses import OUT, STATUS_WORDS, status_out, statuses_in
from interlock.doors.http.plumbing.described import Cursor, described
from interlock.doors.http.plumbing.etag import tagged
from interlock.doors.http.plumbing.idempotency import REPLAYED, key_of, read_key
from interlock.doors.http.plumbing.operation import Call, Reply
from interlock.doors.http.plumbing.replies import PRIVATE, JsonReply
from interlock.kit.instants import rfc3339
from interlock.services.executions.signal import Changed
from interlock.services.executions.start import StartRequest
from interlock.services.nouns import ExecutionFilter, Page, Standing

MAX_WAIT_MS = 60_000
WaitMs = Annotated[int, Meta(ge=0, le=MAX_WAIT_MS)]
Limit = Annotated[int, Meta(ge=1, le=100)]
Offset = Annotated[int, Meta(ge=0, le=1_000_000)]


class ExecuteSettings(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """``timeout`` is seconds for the whole execution; ``priority`` 9 goes first."""

    timeout: Annotated[float, Meta(gt=0, le=2_592_000)] | None = None
    priority: Annotated[int, Meta(ge=0, le=9)] = 5


class ExecuteBody(msgspec.Struct, kw_only=True):
    """With ``wait_ms`` the answer comes when the execution rests or ends, or when that time is over."""

    inputs: Any = msgspec.field(default_factory=dict)
    settings: ExecuteSettings | None = None
    metadata: dict[str, Any] = {}
    start_from_node: str | None = None
    skip_trigger_validation: bool = False
    wait_ms: WaitMs = 0


EXECUTE_ALIASES = {"input_data": "inputs", "input": "inputs", "trigger_data": "inputs"}


class ExecuteAnswer(msgspec.Struct, kw_only=True):
    """``status`` is NEW unless the caller waited; ``result`` and ``error`` are there once it has ended."""

    execution_id: str
    id: str
    workflow_id: str
    status: str
    message: str
    started_at: str
    trace_id: str
    result: Any | UnsetType = UNSET
    error: Any | UnsetType = UNSET


class HistoryQuery(msgspec.Struct, kw_only=True):
    status: list[Annotated[str, described(enum=[*STATUS_WORDS])]] = []
    limit: Limit = 50
    offset: Offset = 0
    format: str | None = None


class ExecutionsQuery(HistoryQuery, kw_only=True):
    workflow_id: str | None = None
    cursor: Cursor | None = None


class ExecutionList(msgspec.Struct, kw_only=True):
    """``next_cursor`` leads to the next page, also while new executions begin."""

    executions: list[ExecutionSummary]
    total_count: int
    total: int
    has_more: bool
    next_cursor: str | None
    workflow_id: str | None = None


class ExecutionQuery(msgspec.Struct, kw_only=True):
    wait_ms: WaitMs = 0


class ReasonBody(msgspec.Struct, kw_only=True):
    reason: Annotated[str, Meta(max_length=2_000)] = ""


class SignalBody(msgspec.Struct, kw_only=True):
    """``expected_state`` refuses the signal unless a flow is there; ``signal_id`` makes a repeat the same signal."""

    name: Annotated[str, Meta(min_length=1, max_length=128)]
    payload: Any = None
    expected_state: str | None = None
    signal_id: Annotated[str, Meta(min_length=1, max_length=255)] | None = None


class ChangeAnswer(msgspec.Struct, kw_only=True):
    """What a change of an execution came to. ``pending``: it is recorded and will be acted upon."""

    success: bool
    execution_id: str
    status: str
    message: str
    pending: bool = False
    first_seq: int | None = None
    last_seq: int | None = None


async def execute(call: Call[ExecuteBody, None]) -> Reply:
    """Start an execution of the newest version."""
    body = call.body
    settings = body.settings or ExecuteSettings()
    standing = await call.services.start_execution(
        call.principal,
        StartRequest(
            workflow_id=read_id(call.path["workflow_id"], "workflow"),
            trace_id=call.trace_id,
            input=body.inputs,
            metadata=body.metadata,
            priority=settings.priority,
            start_at=body.start_from_node,
            deadline=settings.timeout,
            key=key_of(call),
            wait=body.wait_ms / 1000,
        ),
    )
    headers = (*PRIVATE, *REPLAYED) if standing.is_replay else PRIVATE
    return JsonReply(_started(standing, has_waited=body.wait_ms > 0), headers=headers)


def _started(standing: Standing, *, has_waited: bool) -> ExecuteAnswer:
    execution_id = str(standing.execution_id)
    answer = ExecuteAnswer(
        execution_id=execution_id,
        id=execution_id,
        workflow_id=str(standing.workflow_id),
        status="NEW",
        message="Execution started",
        started_at=rfc3339(standing.created_at),
        trace_id=standing.trace_id,
    )
    if has_waited:
        answer.status = status_out(standing.status, standing.error)
        if standing.status in ENDED:
            answer.message = "Execution ended"
            answer.result, answer.error = standing.output, standing.error
    return answer


async def history(call: Call[None, HistoryQuery]) -> Reply:
    """The executions of a workflow, newest first."""
    workflow_id = read_id(call.path["workflow_id"], "workflow")
    wanted = _wanted(call.query, workflow_id, None)
    page = await call.services.read_executions.history(call.principal, workflow_id, wanted)
    return _listed(call, page, wanted)


async def list_executions(call: Call[None, ExecutionsQuery]) -> Reply:
    """All executions, newest first."""
    workflow = call.query.workflow_id
    workflow_id = read_id(workflow, "workflow") if workflow is not None else None
    wanted = _wanted(call.query, workflow_id, _read_cursor(call.query.cursor))
    return _listed(call, await call.services.read_executions.page(call.principal, wanted), wanted)


async def list_active(call: Call[None, ExecutionsQuery]) -> Reply:
    """All executions that have not ended."""
    call.query.status = ["ACTIVE"]
    return await list_executions(call)


def _wanted(query: HistoryQuery, workflow_id: UUID | None, before: UUID | None) -> ExecutionFilter:
    return ExecutionFilter(
        workflow_id=workflow_id,
        statuses=statuses_in(query.status),
        before=before,
        limit=query.limit,
        offset=query.offset if before is None else 0,
    )


def _listed(call: Call[None, Any], page: Page, wanted: ExecutionFilter) -> Reply:
    if call.query.format == "list":
        total = ((b"x-total-count", b"%d" % page.total),)
        return JsonReply([execution_summary(row) for row in page.items], headers=(*PRIVATE, *total))
    is_full = len(page.items) == wanted.limit
    has_more = is_full and (wanted.before is not None or wanted.offset + len(page.items) < page.total)
    answer = ExecutionList(
        executions=[execution_summary(row) for row in page.items],
        total_count=page.total,
        total=page.total,
        has_more=has_more,
        next_cursor=str(page.items[-1].execution_id) if has_more else None,
        workflow_id=str(wanted.workflow_id) if wanted.workflow_id is not None else None,
    )
    return tagged(answer, call.header("if-none-match"))


def _read_cursor(text: str | None) -> UUID | None:
    if not text:
        return None
    try:
        return UUID(text)
    except ValueError:
        message = "The cursor is not one of this list; begin without one"
        raise invalid("INVALID_CURSOR", message, field="cursor") from None


@by_any_id
async def get_execution(call: Call[None, ExecutionQuery]) -> Reply:
    """One execution with its nodes; with ``wait_ms`` when it rests or ends, or when that time is over."""
    execution_id = read_id(call.path["execution_id"], "execution")
    reads = call.services.read_executions
    if call.query.wait_ms:
        await reads.rest(call.principal, execution_id, call.query.wait_ms / 1000)
    detail = await reads.detail(call.principal, execution_id)
    return tagged(execution_object(detail), call.header("if-none-match"))


@by_any_id
async def cancel(call: Call[ReasonBody, None]) -> Reply:
    """Cancel an execution with everything it started."""
    execution_id = read_id(call.path["execution_id"], "execution")
    outcome = await call.services.cancel_execution(
        call.principal, execution_id, reason=call.body.reason, trace_id=call.trace_id
    )
    message = "Execution cancelled" if outcome.done else "The execution had already ended"
    if outcome.done and not outcome.is_recorded:
        message = "The execution is being cancelled"
    return JsonReply(
        ChangeAnswer(
            success=outcome.done,
            execution_id=str(execution_id),
            status=status_out(outcome.row.status, outcome.row.error),
            message=message,
            pending=not outcome.is_recorded,
        )
    )


@by_any_id
async def pause(call: Call[ReasonBody, None]) -> Reply:
    """Start no new node until it is resumed."""
    execution_id = read_id(call.path["execution_id"], "execution")
    changed = await call.services.pause_execution.pause(
        call.principal, execution_id, reason=call.body.reason, key=read_key(call), trace_id=call.trace_id
    )
    return _changed(execution_id, changed, "Execution paused")


@by_any_id
async def resume(call: Call[ReasonBody, None]) -> Reply:
    """Let a paused execution go on."""
    execution_id = read_id(call.path["execution_id"], "execution")
    changed = await call.services.pause_execution.resume(
        call.principal, execution_id, reason=call.body.reason, key=read_key(call), trace_id=call.trace_id
    )
    return _changed(execution_id, changed, "Execution resumed")


@by_any_id
async def signal(call: Call[SignalBody, None]) -> Reply:
    """Send an execution what it waits for."""
    execution_id = read_id(call.path["execution_id"], "execution")
    body = call.body
    changed = await call.services.signal_execution(
        call.principal,
        execution_id,
        name=body.name,
        payload=body.payload,
        expected_state=body.expected_state,
        signal_id=body.signal_id or read_key(call),
        trace_id=call.trace_id,
    )
    return _changed(execution_id, changed, "Signal received")


def _changed(execution_id: UUID, changed: Changed, message: str) -> Reply:
    outcome = changed.outcome
    return JsonReply(
        ChangeAnswer(
            success=True,
            execution_id=str(execution_id),
            status=OUT[changed.status],
            message="Recorded; it takes effect shortly" if outcome.pending else message,
            pending=outcome.pending,
            first_seq=outcome.first_seq,
            last_seq=outcome.last_seq,
        ),
        headers=REPLAYED if outcome.is_replay else (),
    )
