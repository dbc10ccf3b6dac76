"""What an executor is given of a task."""

from __future__ import annotations

from interlock.core.engine.flow.board import board_of
from interlock.core.execution import Task
from interlock.ports.node import Attempt
from interlock.runtime.owned import Owned


def prepare(owned: Owned, task: Task) -> tuple[str, Attempt]:
    """The place where the current attempt of a task runs, and the attempt. Not for tasks of the kernel."""
    program = owned.execution.program
    node_type = program.node_type(task.node_id)
    # Who waits for a callback only talks to others; the secrets it signs with never enter a child.
    place = "process" if task.isolated and not node_type.calls_back else node_type.place
    attempt = Attempt(
        execution_id=owned.execution.execution_id,
        tenant_id=owned.tenant_id,
        task_id=task.task_id,
        node_id=task.node_id,
        attempt=task.attempt,
        node_type=node_type.name,
        parameters=task.input if isinstance(task.input, dict) else {},
        timeout=program.attempt_timeout(task.node_id),
        trace_id=owned.trace_id,
        isolated=task.isolated,
        payload=owned.execution.payload,
        blackboard=board_of(owned.execution, place, node_type.place),
    )
    return place, attempt
