"""A graph as a program: ties the compiled graph to the answers the kernel asks for."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from datetime import datetime
from typing import Any

from interlock.core.commands import Signal, TaskPlaced, TaskSucceeded
from interlock.core.engine.expressions import ExpressionError
from interlock.core.engine.graph.activate import dead_edges
from interlock.core.engine.graph.advance import advance, complete, finish
from interlock.core.engine.graph.compile import CompiledGraph
from interlock.core.engine.graph.regions import COMPLETED, LOOP_TYPES
from interlock.core.engine.graph.route import FROM_OUTSIDE, abandon, deliver, leave, make_ready, open_iteration
from interlock.core.engine.graph.seek import place, seeking, seeks_iteration
from interlock.core.engine.graph.sharing import may_bring
from interlock.core.engine.program import Seeking
from interlock.core.engine.retrying import fail_task
from interlock.core.engine.turn import Turn
from interlock.core.errors import conflict
from interlock.core.events import (
    ExecutionFailed,
    ExecutionResumed,
    ExecutionStarted,
    Failure,
    FlowEventRaised,
    FlowTransitioned,
    SignalReceived,
    TaskFailed,
    TaskInputRequested,
    TaskSkipped,
)
from interlock.core.execution import Execution, Task, WaitingReason
from interlock.core.node_type import NodeType
from interlock.core.resources import Resources
from interlock.core.workflow import BatchPolicy, GraphDefinition, RetryPolicy
from interlock.kit.instants import rfc3339

MAX_KEPT_SIGNALS = 1000
"""Early signals kept per execution until somebody waits for them."""


class GraphProgram:
    """A compiled graph version; see ``engine.program.Program`` for what each answer is for."""

    kind = "graph"

    def __init__(self, definition: GraphDefinition, catalogue: Mapping[str, NodeType]) -> None:
        self.graph = CompiledGraph(definition, catalogue)
        self.has_places = self.graph.has_places
        self.carries_parcels = self.graph.carries_parcels
        self.over_ask = definition.settings.over_ask

    def node_type(self, node_id: str) -> NodeType:
        return self.graph.vertices[node_id].type

    def called(self, node_id: str) -> str:
        return self.node_type(node_id).name

    def retry_policy(self, node_id: str) -> RetryPolicy:
        return self.graph.vertices[node_id].definition.retry

    def attempt_timeout(self, node_id: str) -> float:
        vertex = self.graph.vertices[node_id]
        return vertex.definition.timeout or vertex.type.default_timeout

    def heartbeat(self, node_id: str) -> float | None:
        return self.graph.vertices[node_id].definition.heartbeat

    def execution_timeout(self) -> float | None:
        return self.graph.settings.timeout

    def children(self) -> frozenset[str]:
        return self.graph.children

    def resources(self, node_id: str) -> Resources | None:
        return self.graph.vertices[node_id].resources

    def batch(self, node_id: str) -> tuple[Hashable, BatchPolicy] | None:
        vertex = self.graph.vertices[node_id]
        if vertex.kind is None or vertex.definition.batch is None:
            return None
        return vertex.kind, vertex.definition.batch

    def may_bring(self, execution: Execution, kind: Hashable) -> bool:
        return may_bring(self.graph, execution, kind)

    def placed(self) -> dict[str, Resources]:
        vertices = self.graph.vertices.values()
        return {vertex.id: vertex.resources for vertex in vertices if vertex.resources is not None}

    def seeks_iteration(self, execution: Execution) -> bool:
        return seeks_iteration(self.graph, execution)

    def seeking(self, execution: Execution, now: datetime, lost: Mapping[str, str]) -> list[Seeking]:
        return seeking(self.graph, execution, now, lost)

    def place(self, turn: Turn, command: TaskPlaced) -> None:
        place(self.graph, turn, command)

    def on_execution_started(self, execution: Execution, event: ExecutionStarted, at: datetime) -> None:
        execution.scopes[""] = 0
        for node_id in (event.start_at,) if event.start_at else self.graph.entries:
            make_ready(execution, "", node_id, (FROM_OUTSIDE,))

    def on_task_started(self, execution: Execution, task: Task) -> None:
        if task.scope not in execution.scopes:
            open_iteration(self.graph, execution, task.scope)
        execution.ready.pop(task.task_id, None)

    def on_task_completed(
        self, execution: Execution, task: Task, port: str, output: Any, dead: tuple[int, ...]
    ) -> None:
        if task.waits_for == "signal" and port == "result":
            _take_mail(execution, task.name)
        execution.outputs[task.task_id] = (port, output)
        deliver(self.graph, execution, task.scope, self.graph.vertices[task.node_id], port, dead)
        leave(self.graph, execution, task.scope)

    def on_task_failed(self, execution: Execution, task: Task, event: TaskFailed) -> None:
        vertex = self.graph.vertices[task.node_id]
        if vertex.type.name in LOOP_TYPES:
            abandon(execution, task)
        if vertex.definition.on_error == "continue":
            port = _result_port(vertex.type)
            execution.outputs[task.task_id] = (port, None)
            deliver(self.graph, execution, task.scope, vertex, port, event.dead)
        elif vertex.definition.on_error == "error_output":
            execution.outputs[task.task_id] = ("error", _error_output(event.error))
            deliver(self.graph, execution, task.scope, vertex, "error", event.dead)
        else:
            execution.failed.append(task.task_id)
            execution.error = execution.error or event.error
            deliver(self.graph, execution, task.scope, vertex, "", ())
        leave(self.graph, execution, task.scope)

    def on_task_skipped(self, execution: Execution, event: TaskSkipped) -> None:
        ready = execution.ready.pop(event.task_id)
        deliver(self.graph, execution, ready.scope, self.graph.vertices[event.node_id], "", ())
        leave(self.graph, execution, ready.scope)

    def on_signal(self, execution: Execution, event: SignalReceived) -> None:
        execution.mailbox.setdefault(event.name, []).append(event.payload)

    def on_input_requested(self, execution: Execution, task: Task, event: TaskInputRequested) -> None:
        raise TypeError("a graph has no event task.input_requested")

    def on_flow_event(self, execution: Execution, event: FlowEventRaised) -> None:
        raise TypeError("a graph has no event flow.event_raised")

    def on_transition(self, execution: Execution, event: FlowTransitioned, at: datetime) -> None:
        raise TypeError("a graph has no event flow.transitioned")

    def advance(self, turn: Turn) -> None:
        advance(self.graph, turn)

    def complete(self, turn: Turn, task: Task, outcome: TaskSucceeded) -> None:
        complete(self.graph, turn, task, outcome)

    def failed_event(self, turn: Turn, task: Task, event: TaskFailed) -> TaskFailed:
        """The same with the connections that are dead if the branch goes on."""
        vertex = self.graph.vertices[task.node_id]
        if not vertex.has_conditions or vertex.definition.on_error == "stop":
            return event
        goes_on = vertex.definition.on_error == "continue"
        port, output = (_result_port(vertex.type), None) if goes_on else ("error", _error_output(event.error))
        try:
            dead = dead_edges(self.graph, turn, task.scope, vertex, port, output)
        except ExpressionError:
            dead = tuple(edge.index for edge in vertex.out)
        return TaskFailed(
            task_id=event.task_id,
            node_id=event.node_id,
            attempt=event.attempt,
            error=event.error,
            quarantined=event.quarantined,
            dead=dead,
        )

    def give_up(self, turn: Turn, task: Task, failed: TaskFailed) -> None:
        stops = self.graph.vertices[task.node_id].definition.on_error == "stop"
        if stops and self.graph.settings.on_failure == "stop":
            error = Failure(
                code=failed.error.code,
                message=failed.error.message,
                node_id=task.node_id,
                task_id=task.task_id,
                details=failed.error.details,
            )
            execution = turn.execution
            turn.emit(ExecutionFailed(error=error, failed=tuple(execution.failed), skipped=tuple(execution.skipped)))

    def wake(self, turn: Turn, timer: str) -> None:
        task = turn.execution.tasks[timer]
        if task.waits_for == "signal":
            if task.input.get("on_timeout") == "continue":
                finish(turn, task, None, "timeout")
            else:
                fail_task(turn, task, Failure(code="TIMEOUT", message=f"No signal {task.name!r} came in time"))
            return
        finish(turn, task, {"waited_until": task.wake_at and rfc3339(task.wake_at)}, "result")

    def signal(self, turn: Turn, signal: Signal) -> None:
        if sum(map(len, turn.execution.mailbox.values())) >= MAX_KEPT_SIGNALS:
            turn.refusal = conflict(
                "MAILBOX_FULL", f"{MAX_KEPT_SIGNALS} signals wait already; nobody in this execution takes them"
            )
            return
        turn.emit(SignalReceived(name=signal.name, payload=signal.payload, by=signal.by, signal_id=signal.signal_id))

    def retry(self, turn: Turn, signal: Signal) -> None:
        turn.refusal = conflict("INVALID_TRANSITION", "Only a flow can run its failed step again; retry the execution")

    def resume(self, turn: Turn, reason: str, by: str) -> None:
        turn.emit(ExecutionResumed(reason=reason, by=by))

    def resting_reason(self, execution: Execution) -> WaitingReason | None:
        return None


def _result_port(node_type: NodeType) -> str:
    """The port of a node's ordinary result."""
    return COMPLETED if node_type.name in LOOP_TYPES else "result"


def _take_mail(execution: Execution, name: str) -> None:
    kept = execution.mailbox.get(name)
    if kept:
        kept.pop(0)
        if not kept:
            del execution.mailbox[name]


def _error_output(error: Failure) -> dict[str, Any]:
    return {"error": {"code": error.code, "message": error.message, "details": error.details}}
