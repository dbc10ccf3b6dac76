"""Executions as this door shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from interlock.core.execution import ENDED
from interlock.core.workflow import Definition, GraphDefinition
from interlock.doors.http.app.approval_object import ApprovalObject, approval_object
from interlock.doors.http.app.node_words import words_of
from interlock.doors.http.app.statuses import status_out, task_status_out, waiting_reason_out
from interlock.kit.instants import (
    milliseconds,
    milliseconds_or_none,
    rfc3339,
    rfc3339_or_none,
)
from interlock.services.executions.read import ExecutionDetail
from interlock.services.executions.view import ASKING, CANCELLED, RETRYING, RUNNING, WAITING, TaskView
from interlock.services.nouns import ExecutionRow
from interlock.services.sessions.session import shown_id

_UNDER_WAY = (RUNNING, ASKING, WAITING, RETRYING)


class ExecutionSummary(msgspec.Struct, kw_only=True):
    """An execution in a list. ``start_time`` and ``end_time`` are milliseconds since 1970."""

    execution_id: str
    id: str
    workflow_id: str | None
    workflow_version: int
    kind: str
    status: str
    waiting_reason: str | None
    waiting_detail: str | None
    waiting_since: str | None
    wake_at: str | None
    mode: str
    triggered_by: str
    inputs: Any
    result: Any
    error: Any
    error_message: str | None
    start_time: int
    end_time: int | None
    duration_ms: int | None
    parent_execution_id: str | None
    root_execution_id: str
    last_seq: int
    metadata: dict[str, Any]
    trace_id: str
    started_at: str
    ended_at: str | None
    created_at: str
    updated_at: str


class NodeExecution(msgspec.Struct, kw_only=True):
    """One task of a node; a node inside a loop has one per iteration, told apart by ``task_id``."""

    node_id: str
    node_name: str
    node_type: str
    node_subtype: str
    task_id: str
    status: str
    attempt: int
    start_time: int | None
    end_time: int | None
    duration_ms: int | None
    input_data: Any
    output_data: Any
    output_port: str
    error: Any
    waits_for: str | None
    wake_at: str | None
    progress: float | None
    message: str


class Usage(msgspec.Struct, kw_only=True):
    """What models cost."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0


class ExecutionObject(ExecutionSummary, kw_only=True):
    """An execution with all its nodes. ``active_states`` and ``valid_events`` are a flow's."""

    node_executions: list[NodeExecution]
    run_data: dict[str, Any]
    current_node_id: str | None
    pending_approvals: list[ApprovalObject]
    active_states: list[str]
    valid_events: list[str]
    usage: Usage


def execution_summary(row: ExecutionRow) -> ExecutionSummary:
    """The row alone."""
    return ExecutionSummary(**_of_row(row))


def execution_object(detail: ExecutionDetail) -> ExecutionObject:
    """The row with what its log says."""
    tasks = list(detail.view.tasks.values())
    nodes = _Nodes(detail.definition)
    shown = [nodes.execution_of(task) for task in tasks]
    if detail.row.status not in ENDED:
        shown += nodes.pending({task.node_id for task in tasks})
    return ExecutionObject(
        **_of_row(detail.row),
        node_executions=shown,
        run_data={
            "node_results": {
                node.node_id: {"status": node.status, "output": node.output_data}
                for node in shown
                if node.start_time is not None
            }
        },
        current_node_id=_current(tasks),
        pending_approvals=[approval_object(approval) for approval in detail.pending],
        active_states=list(detail.view.active),
        valid_events=list(detail.view.valid_events),
        usage=Usage(),
    )


def _of_row(row: ExecutionRow) -> dict[str, Any]:
    error = row.error
    return {
        "execution_id": shown_id(row),
        "id": shown_id(row),
        "workflow_id": str(row.workflow_id) if row.workflow_id is not None else None,
        "workflow_version": row.workflow_number,
        "kind": row.kind,
        "status": status_out(row.status, error),
        "waiting_reason": waiting_reason_out(row.status, row.waiting_reason),
        "waiting_detail": row.waiting_reason,
        "waiting_since": rfc3339_or_none(row.waiting_since),
        "wake_at": rfc3339_or_none(row.wake_at),
        "mode": row.mode,
        "triggered_by": row.started_by,
        "inputs": row.input,
        "result": row.output,
        "error": error,
        "error_message": error.get("message") if isinstance(error, dict) else None,
        "start_time": milliseconds(row.created_at),
        "end_time": milliseconds_or_none(row.ended_at),
        "duration_ms": _duration(row.created_at, row.ended_at),
        "parent_execution_id": str(row.parent_id) if row.parent_id is not None else None,
        "root_execution_id": str(row.root_id),
        "last_seq": row.last_seq,
        "metadata": row.metadata,
        "trace_id": row.trace_id,
        "started_at": rfc3339(row.created_at),
        "ended_at": rfc3339_or_none(row.ended_at),
        "created_at": rfc3339(row.created_at),
        "updated_at": rfc3339(row.updated_at),
    }


class _Nodes:
    """What is known of the nodes of one definition."""

    def __init__(self, definition: Definition | None) -> None:
        self._known: dict[str, tuple[str, str, Mapping[str, Any]]] = {}  # id -> name, type, parameters
        if isinstance(definition, GraphDefinition):
            for node in definition.nodes:
                self._known[node.id] = (node.name or node.id, node.type, node.parameters)
        elif definition is not None:
            for state, node_type in definition.nodes.items():
                self._known[state] = (state, node_type, definition.parameters.get(state, {}))
        self._is_graph = isinstance(definition, GraphDefinition)

    def execution_of(self, task: TaskView) -> NodeExecution:
        name, kind, subtype = self._words(task.node_id)
        error = msgspec.to_builtins(task.error) if task.error is not None else None
        if task.status == CANCELLED and error is None:
            error = {"code": "CANCELED", "message": "The execution ended before this node did"}
        return NodeExecution(
            node_id=task.node_id,
            node_name=name,
            node_type=kind,
            node_subtype=subtype,
            task_id=task.task_id,
            status=task_status_out(task.status),
            attempt=task.attempt,
            start_time=milliseconds_or_none(task.started_at),
            end_time=milliseconds_or_none(task.ended_at),
            duration_ms=_duration(task.started_at, task.ended_at),
            input_data=task.input,
            output_data=task.output,
            output_port=task.port,
            error=error,
            waits_for=task.waits_for or None,
            wake_at=rfc3339_or_none(task.wake_at),
            progress=task.progress,
            message=task.message,
        )

    def pending(self, begun: set[str]) -> list[NodeExecution]:
        """The nodes of a graph that have not begun yet, in the order of the definition."""
        if not self._is_graph:
            return []
        return [self._pending(node_id) for node_id in self._known if node_id not in begun]

    def _pending(self, node_id: str) -> NodeExecution:
        name, kind, subtype = self._words(node_id)
        return NodeExecution(
            node_id=node_id,
            node_name=name,
            node_type=kind,
            node_subtype=subtype,
            task_id=node_id,
            status="pending",
            attempt=0,
            start_time=None,
            end_time=None,
            duration_ms=None,
            input_data=None,
            output_data=None,
            output_port="",
            error=None,
            waits_for=None,
            wake_at=None,
            progress=None,
            message="",
        )

    def _words(self, node_id: str) -> tuple[str, str, str]:
        found = self._known.get(node_id)
        if found is None:
            return node_id, "", ""
        name, node_type, parameters = found
        return (name, *words_of(node_type, parameters))


def _current(tasks: Sequence[TaskView]) -> str | None:
    """The node that an onlooker would call the current one: running before waiting, the newest of several."""
    for status in _UNDER_WAY:
        for task in reversed(tasks):
            if task.status == status and task.waits_for != "iterations":
                return task.node_id
    return None


def _duration(start: datetime | None, end: datetime | None) -> int | None:
    return None if start is None or end is None else int((end - start).total_seconds() * 1000)
