"""The tasks of an execution as they stand now, also those that have not begun, and why they have not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from interlock.core.events import Failure
from interlock.core.execution import ENDED, WaitingReason
from interlock.core.principal import Principal
from interlock.core.workflow import GraphDefinition, NodeDefinition
from interlock.ports.store import ExecutionRow
from interlock.ports.workers import LOCAL_WORKER, Places
from interlock.services.executions import view as views
from interlock.services.executions.read import ExecutionDetail, ReadExecutions
from interlock.services.executions.view import AttemptView, ExecutionView, TaskView

TaskStatus = Literal["pending", "ready", "running", "succeeded", "failed", "skipped", "cancelled"]
NO_WORKER = "no_capable_worker"
"""No worker that is known now has what the task asks for."""

_STATUSES: dict[str, TaskStatus] = {
    views.RUNNING: "running",
    views.RETRYING: "ready",
    views.WAITING: "running",
    views.ASKING: "running",
    views.COMPLETED: "succeeded",
    views.FAILED: "failed",
    views.SKIPPED: "skipped",
    views.CANCELLED: "cancelled",
}
_HELD_BACK = frozenset({WaitingReason.SLOT, WaitingReason.TENANT_CAP, WaitingReason.PAUSED})
"""Why an execution as a whole does not begin anything."""


class TaskStanding(msgspec.Struct, frozen=True, kw_only=True):
    """A task as it stands. ``pending`` waits for other tasks, ``ready`` for what ``waiting_reason`` says.

    ``worker`` is where its newest attempt ran or runs.
    """

    task_id: str
    node_id: str
    name: str
    status: TaskStatus
    waiting_reason: str | None = None
    worker: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    attempts: tuple[AttemptView, ...] = ()
    error: Failure | None = None


class ListTasks:
    """Says of each task of an execution where it stands."""

    def __init__(self, reads: ReadExecutions, places: Places) -> None:
        self._reads = reads
        self._places = places

    async def __call__(self, principal: Principal, execution_id: UUID) -> list[TaskStanding]:
        """Those that began, in that order, then the others as their author put them. Raises DENIED, NOT_FOUND."""
        return self.of(await self._reads.detail(principal, execution_id))

    def of(self, detail: ExecutionDetail) -> list[TaskStanding]:
        """The tasks of an execution that was read already."""
        graph = detail.definition if isinstance(detail.definition, GraphDefinition) else None
        nodes = {node.id: node for node in graph.nodes} if graph is not None else {}
        waits = _Waits(detail.row, graph, self._places)
        begun = [_begun(task, nodes, waits) for task in detail.view.tasks.values()]
        return begun if graph is None else [*begun, *_not_begun(detail, graph, nodes, waits)]


class _Waits:
    """Why tasks of one execution that could begin do not."""

    def __init__(self, row: ExecutionRow, graph: GraphDefinition | None, places: Places) -> None:
        self._row = row
        self._over_ask = graph.settings.over_ask if graph is not None else None
        self._places = places

    def reason_of(self, node: NodeDefinition | None) -> str | None:
        """The word for it; None if nothing is known to hold it up."""
        if self._row.waiting_reason in _HELD_BACK:
            return self._row.waiting_reason
        if node is None or node.resources is None:
            return None
        has_worker = self._places.has_worker_for(node.resources, self._over_ask)
        return str(WaitingReason.RESOURCES) if has_worker else NO_WORKER


def _begun(task: TaskView, nodes: Mapping[str, NodeDefinition], waits: _Waits) -> TaskStanding:
    node = nodes.get(task.node_id)
    reason = task.waits_for or None
    if task.status == views.RETRYING:
        reason = str(WaitingReason.RETRY_AT)
    return TaskStanding(
        task_id=task.task_id,
        node_id=task.node_id,
        name=_name(node, task.node_id),
        status=_STATUSES[task.status],
        waiting_reason=reason,
        worker=(task.attempts[-1].worker or LOCAL_WORKER) if task.attempts else None,
        started_at=task.started_at,
        ended_at=task.ended_at,
        attempts=tuple(task.attempts),
        error=task.error,
    )


def _not_begun(
    detail: ExecutionDetail, graph: GraphDefinition, nodes: Mapping[str, NodeDefinition], waits: _Waits
) -> Iterable[TaskStanding]:
    has_ended = detail.row.status in ENDED
    sources = _sources(graph)
    for node in graph.nodes:
        if node.id in detail.view.newest or node.id in detail.view.tasks:
            continue
        is_ready = not has_ended and _is_ready(node.id, sources.get(node.id, ()), detail.view)
        yield TaskStanding(
            task_id=node.id,
            node_id=node.id,
            name=_name(node, node.id),
            status="cancelled" if has_ended else "ready" if is_ready else "pending",
            waiting_reason=waits.reason_of(node) if is_ready else None,
        )


def _is_ready(node_id: str, sources: Iterable[str], view: ExecutionView) -> bool:
    """Whether all that lead to it are over; without any it is where an execution begins."""
    over = [source in view.tasks and view.tasks[source].ended_at is not None for source in sources]
    return all(over) if over else view.start_at in (None, node_id)


def _sources(graph: GraphDefinition) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for connection in graph.connections:
        found.setdefault(connection.target, set()).add(connection.source)
    for node in graph.nodes:
        for reference in (node.arguments or {}).values():
            found.setdefault(node.id, set()).add(reference.node)
    return found


def _name(node: NodeDefinition | None, otherwise: str) -> str:
    return (node.name if node is not None else "") or otherwise
