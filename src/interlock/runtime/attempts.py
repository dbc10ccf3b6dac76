"""Attempts of owned executions: handed to executors once they are committed, ended when nobody wants them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import structlog

from interlock.core.engine.flow.board import board_of
from interlock.core.events import TaskCompleted, TaskFailed, TaskStarted
from interlock.core.execution import Phase, Task
from interlock.core.node_type import NodeType
from interlock.core.placing.amounts import given
from interlock.core.resources import Resources
from interlock.kit import failpoints
from interlock.ports.executor import Attaching, Executor, Report
from interlock.ports.node import Attempt
from interlock.ports.telemetry import Telemetry
from interlock.runtime.heartbeats import Heartbeats
from interlock.runtime.owned import Owned

log = structlog.get_logger("attempts")
failpoints.declare("runner.before_attempt")
CLUSTER = "ray"
"""The place of all that runs in processes of its own, if the server has an executor on a cluster."""


class Attempts:
    """What executors run for this process. ``report`` gets what becomes of each."""

    def __init__(
        self, executors: Mapping[str, Executor], heartbeats: Heartbeats, telemetry: Telemetry, report: Report
    ) -> None:
        self._executors = executors
        self._heartbeats = heartbeats
        self._telemetry = telemetry
        self._report = report
        self.count_node: Callable[[str, str, float | None], None] = lambda tenant_id, node, seconds: None

    def start(self, owned: Owned, event: TaskStarted) -> None:
        """Run the attempt that an event began, unless it is over already or the engine itself carries it out."""
        task = owned.execution.tasks.get(event.task_id)
        if task is None or task.attempt != event.attempt or task.phase is not Phase.RUNNING:
            return
        program = owned.execution.program
        node_type = program.node_type(event.node_id)
        if node_type.runs == "kernel":
            return
        failpoints.hit("runner.before_attempt")
        place = self._place(node_type, task)
        attempt = Attempt(
            execution_id=owned.execution.execution_id,
            tenant_id=owned.tenant_id,
            task_id=event.task_id,
            node_id=event.node_id,
            attempt=event.attempt,
            node_type=node_type.name,
            parameters=task.input if isinstance(task.input, dict) else {},
            timeout=program.attempt_timeout(event.node_id),
            trace_id=owned.trace_id,
            isolated=task.isolated,
            packs=program.carries_parcels,
            payload=owned.execution.payload,
            resources=_resources(owned, event) if event.placement is not None else None,
            placement=event.placement,
            blackboard=board_of(owned.execution, place, node_type.place),
        )
        owned.attempts.add(event.task_id)
        self.beat(owned, event.task_id, event.attempt)
        self._executors[place].submit(attempt, self._report)

    def attach(self, owned: Owned, task_id: str, number: int) -> bool:
        """Whether an attempt of the runner before will be heard of here; if not, it is lost."""
        task = owned.execution.tasks.get(task_id)
        if task is None or task.attempt != number or task.phase is not Phase.RUNNING:
            return False
        program = owned.execution.program
        executor = self._executors.get(self._place(program.node_type(task.node_id), task))
        if not isinstance(executor, Attaching):
            return False
        if not executor.attach(owned.execution.execution_id, task_id, number, self._report):
            return False
        owned.attempts.add(task_id)
        self.beat(owned, task_id, number)
        return True

    def _place(self, node_type: NodeType, task: Task) -> str:
        """The executor of an attempt; on a cluster, if there is one, what does not need the server."""
        if node_type.place != "inline" and CLUSTER in self._executors:
            return CLUSTER
        # Who waits for a callback only talks to others; the secrets it signs with never enter a child.
        is_moved = task.isolated and node_type.place == "inline" and not node_type.calls_back
        return "process" if is_moved else node_type.place

    def beat(self, owned: Owned, task_id: str, attempt: int) -> None:
        """The attempt is alive; if its node has a heartbeat, it must say so again in time."""
        task = owned.execution.tasks.get(task_id)
        seconds = owned.execution.program.heartbeat(task.node_id) if task is not None else None
        if seconds is not None:
            self._heartbeats.expect(owned, task_id, attempt, seconds)

    def settle(self, owned: Owned, task_id: str) -> None:
        """The attempt is over."""
        owned.attempts.discard(task_id)
        self._heartbeats.settle(owned, task_id)

    def cancel_stale(self, owned: Owned) -> None:
        """End attempts of tasks that are over: cancelled, timed out, or left by their flow."""
        tasks = owned.execution.tasks
        for task_id in list(owned.attempts):
            if task_id not in tasks or tasks[task_id].phase is not Phase.RUNNING:
                self.cancel(owned, task_id)

    def cancel_all(self, owned: Owned) -> None:
        """End whatever runs for an execution."""
        for task_id in list(owned.attempts):
            self.cancel(owned, task_id)

    def cancel(self, owned: Owned, task_id: str) -> None:
        """End the attempt of a task, wherever it runs."""
        self.settle(owned, task_id)
        for executor in self._executors.values():
            executor.cancel(owned.execution.execution_id, task_id)

    def count(self, owned: Owned, event: TaskCompleted | TaskFailed) -> None:
        """An attempt has ended, for the figures; a lost one has not, and the log says what was away."""
        if type(event) is TaskFailed and event.lost:
            log.warning(
                "attempt.lost",
                code=event.error.code,
                reason=event.error.message,
                execution_id=str(owned.execution.execution_id),
                task_id=event.task_id,
                attempt=event.attempt,
                trace_id=owned.trace_id,
            )
            return
        program = owned.execution.program
        seconds = event.duration_ms / 1000 if type(event) is TaskCompleted else None
        word = "failed" if seconds is None else "completed"
        is_placed = program.has_places and program.resources(event.node_id) is not None
        node_type = program.node_type(event.node_id).name
        self._telemetry.task_ended(node_type, word, seconds, is_placed=is_placed)
        self.count_node(owned.tenant_id, program.called(event.node_id), seconds)


def _resources(owned: Owned, event: TaskStarted) -> Resources | None:
    asked = owned.execution.program.resources(event.node_id)
    return given(asked, event.placement) if asked is not None and event.placement is not None else None
