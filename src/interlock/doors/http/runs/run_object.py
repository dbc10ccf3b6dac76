"""Runs and their tasks as this door shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from interlock.core.approval import Approval
from interlock.core.events import Failure
from interlock.core.execution import Status
from interlock.doors.http.runs.door import status_of
from interlock.kit.instants import rfc3339, rfc3339_or_none
from interlock.services.executions.tasks import TaskStanding
from interlock.services.executions.view import AttemptView
from interlock.services.nouns import ArtifactRow, ExecutionRow
from interlock.services.sessions.session import shown_id


class RunObject(msgspec.Struct, kw_only=True):
    """A run. ``task`` is what an agent was told to do; other kinds have none."""

    run_id: str
    kind: str
    status: str
    waiting_reason: str | None
    task: str | None
    created_at: str
    started_at: str | None
    finished_at: str | None
    trace_id: str
    workflow_id: str | None
    retried_from: str | None


class RunAttempt(msgspec.Struct, kw_only=True):
    """One try at a task."""

    attempt: int
    worker: str | None
    started_at: str
    finished_at: str | None
    error: Failure | None


class RunTask(msgspec.Struct, kw_only=True):
    """A task: ``pending`` waits for others, ``ready`` for what ``waiting_reason`` says."""

    task_id: str
    name: str
    status: str
    waiting_reason: str | None
    worker: str | None
    started_at: str | None
    finished_at: str | None
    attempts: list[RunAttempt]
    error: Failure | None


class RunArtifact(msgspec.Struct, kw_only=True):
    """A file that the run made; ``size`` is bytes."""

    name: str
    size: int
    sha256: str
    content_type: str
    created_at: str
    task_id: str


class PendingApproval(msgspec.Struct, kw_only=True):
    """A question that nobody has answered yet; ``tool`` is what asks."""

    run_id: str
    approval_key: str
    tool: str
    summary: str
    request: Any
    created_at: str
    expires_at: str | None
    status: str


class RunUsage(msgspec.Struct, kw_only=True):
    """What models cost."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0


class RunDetail(RunObject, kw_only=True):
    """A run with everything its log says."""

    final_output: Any
    error: Any
    artifacts: list[RunArtifact]
    pending_approvals: list[PendingApproval]
    usage: RunUsage
    tasks: list[RunTask]


def run_object(row: ExecutionRow) -> RunObject:
    """A run by its row alone."""
    return RunObject(**_of_row(row))


def run_detail(
    row: ExecutionRow, tasks: Sequence[TaskStanding], artifacts: Sequence[ArtifactRow], pending: Sequence[Approval]
) -> RunDetail:
    """A run with its tasks, its files and its open questions."""
    return RunDetail(
        **_of_row(row),
        final_output=row.output,
        error=row.error,
        artifacts=[artifact_object(found) for found in artifacts],
        pending_approvals=[_pending(shown_id(row), approval) for approval in pending],
        usage=RunUsage(),
        tasks=[task_object(task) for task in tasks],
    )


def task_object(task: TaskStanding) -> RunTask:
    """One task."""
    return RunTask(
        task_id=task.task_id,
        name=task.name,
        status=task.status,
        waiting_reason=task.waiting_reason,
        worker=task.worker,
        started_at=rfc3339_or_none(task.started_at),
        finished_at=rfc3339_or_none(task.ended_at),
        attempts=[_attempt(attempt) for attempt in task.attempts],
        error=task.error,
    )


def artifact_object(row: ArtifactRow) -> RunArtifact:
    """One file."""
    return RunArtifact(
        name=row.name,
        size=row.size,
        sha256=row.sha256,
        content_type=row.content_type,
        created_at=rfc3339(row.created_at),
        task_id=row.task_id,
    )


def _of_row(row: ExecutionRow) -> dict[str, Any]:
    status = status_of(row)
    return {
        "run_id": shown_id(row),
        "kind": row.kind,
        "status": status,
        "waiting_reason": row.waiting_reason,
        "task": None,
        "created_at": rfc3339(row.created_at),
        "started_at": None if row.status == Status.QUEUED and status == "queued" else rfc3339(row.created_at),
        "finished_at": rfc3339_or_none(row.ended_at),
        "trace_id": row.trace_id,
        "workflow_id": str(row.workflow_id) if row.workflow_id is not None else None,
        "retried_from": row.metadata.get("retry_of"),
    }


def _attempt(attempt: AttemptView) -> RunAttempt:
    return RunAttempt(
        attempt=attempt.number,
        worker=attempt.worker or None,
        started_at=rfc3339(attempt.started_at),
        finished_at=rfc3339_or_none(attempt.ended_at),
        error=attempt.error,
    )


def _pending(run_id: str, approval: Approval) -> PendingApproval:
    return PendingApproval(
        run_id=run_id,
        approval_key=str(approval.approval_id),
        tool=approval.node_id,
        summary=approval.title,
        request=approval.request,
        created_at=rfc3339(approval.created_at),
        expires_at=rfc3339_or_none(approval.expires_at),
        status=str(approval.status),
    )
