"""A flow as a program: ties the compiled flow to the answers the kernel asks for."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from datetime import datetime, timedelta
from typing import Any

from interlock.core.commands import Signal, TaskPlaced, TaskSucceeded
from interlock.core.engine.evolve import IDLE, expect_user
from interlock.core.engine.expressions import ExpressionError
from interlock.core.engine.flow.compile import CompiledFlow
from interlock.core.engine.flow.move import (
    advance,
    awaits_join,
    choose,
    complete,
    finish,
    follow_if_awake,
    move,
    resume,
    start_node,
    take,
)
from interlock.core.engine.program import Seeking
from interlock.core.engine.turn import Turn
from interlock.core.errors import InterlockError, conflict, rule_broken
from interlock.core.events import (
    ExecutionCancelled,
    ExecutionPaused,
    ExecutionResumed,
    ExecutionStarted,
    FlowEventRaised,
    FlowTransitioned,
    SignalReceived,
    TaskFailed,
    TaskInputRequested,
    TaskSkipped,
)
from interlock.core.execution import Execution, Shown, Task, WaitingReason
from interlock.core.node_type import NodeType
from interlock.core.placing.over_ask import Policy
from interlock.core.resources import Resources
from interlock.core.workflow import BatchPolicy, FlowDefinition, RetryPolicy
from interlock.kit.instants import rfc3339

_PAUSES = frozenset({"PAUSE", "SESSION_PAUSE"})
_RESUMES = frozenset({"RESUME", "SESSION_RESUME"})
_ABORTS = frozenset({"ABORT", "SESSION_ABORT"})
CONTROL_EVENTS = ("PAUSE", "RESUME", "ABORT", "RETRY")
_TIMER = "state:"


class FlowProgram:
    """A compiled flow version; see ``engine.program.Program`` for what each answer is for."""

    kind = "flow"
    has_places = False
    carries_parcels = False
    over_ask: Policy | None = None

    def __init__(self, definition: FlowDefinition, catalogue: Mapping[str, NodeType]) -> None:
        self.flow = CompiledFlow(definition, catalogue)

    def node_type(self, node_id: str) -> NodeType:
        node = self.flow.states[node_id].node
        if node is None:
            raise KeyError(node_id)
        return node

    def called(self, node_id: str) -> str:
        return self.flow.states[node_id].called

    def retry_policy(self, node_id: str) -> RetryPolicy:
        return self.flow.states[node_id].retry

    def attempt_timeout(self, node_id: str) -> float:
        return self.flow.states[node_id].deadline or self.node_type(node_id).default_timeout

    def heartbeat(self, node_id: str) -> float | None:
        return None

    def execution_timeout(self) -> float | None:
        return None

    def children(self) -> frozenset[str]:
        return self.flow.children

    def resources(self, node_id: str) -> Resources | None:
        return None

    def batch(self, node_id: str) -> tuple[Hashable, BatchPolicy] | None:
        return None

    def may_bring(self, execution: Execution, kind: Hashable) -> bool:
        return False

    def placed(self) -> dict[str, Resources]:
        return {}

    def seeks_iteration(self, execution: Execution) -> bool:
        return False

    def seeking(self, execution: Execution, now: datetime, lost: Mapping[str, str]) -> list[Seeking]:
        return []

    def place(self, turn: Turn, command: TaskPlaced) -> None:
        raise TypeError("a flow has no tasks with a place")

    def on_execution_started(self, execution: Execution, event: ExecutionStarted, at: datetime) -> None:
        self._enter(execution, (event.start_at or self.flow.initial_state,), at)
        expect_user(execution, at)

    def on_task_started(self, execution: Execution, task: Task) -> None:
        if task.node_id in execution.entering:
            execution.entering.remove(task.node_id)
        asking = execution.asked.pop(task.node_id, None)
        if asking is not None:
            execution.tasks.pop(asking, None)
        execution.visits[task.node_id] = execution.visits.get(task.node_id, 0) + 1

    def on_task_completed(
        self, execution: Execution, task: Task, port: str, output: Any, dead: tuple[int, ...]
    ) -> None:
        execution.outputs.pop(task.node_id, None)  # the newest result comes last
        execution.outputs[task.node_id] = (port, output)
        if not _is_awaited_again(execution, task.node_id):
            self._done(execution, task.node_id)

    def _done(self, execution: Execution, name: str, event: str | None = None) -> None:
        """A source of fan-ins is done; with ``event`` for the fan-ins on it alone."""
        for join in self.flow.states[name].joins:
            done = execution.joined.setdefault(join.index, [])
            if name not in done and event in (None, join.event):
                done.append(name)

    def on_task_failed(self, execution: Execution, task: Task, event: TaskFailed) -> None:
        execution.failed.append(task.task_id)
        execution.last_failed = task.node_id

    def on_input_requested(self, execution: Execution, task: Task, event: TaskInputRequested) -> None:
        execution.asked[task.node_id] = task.task_id

    def on_signal(self, execution: Execution, event: SignalReceived) -> None:
        execution.payload = event.payload
        execution.chain = 0
        execution.shown = Shown()

    def on_flow_event(self, execution: Execution, event: FlowEventRaised) -> None:
        if not event.task_id:  # no node raised it but a timer, or somebody who says that a state is done
            execution.chain = 0
            execution.timers.pop(_TIMER + event.flow_state, None)
            if self.flow.states[event.flow_state].node is None:
                self._done(execution, event.flow_state, event.event)

    def on_transition(self, execution: Execution, event: FlowTransitioned, at: datetime) -> None:
        execution.chain += 1
        for name in event.source:
            self._leave(execution, name)
        self._enter(execution, event.target, at)

    def on_task_skipped(self, execution: Execution, event: TaskSkipped) -> None:
        raise TypeError("a flow has no event task.skipped")

    def _undo(self, execution: Execution, name: str) -> None:
        """A source of fan-ins that is left or entered is not done; the others of its fork stay as they are."""
        for join in self.flow.states[name].joins:
            done = execution.joined.get(join.index, [])
            if name in done:
                done.remove(name)
            if not done:
                execution.joined.pop(join.index, None)

    def _leave(self, execution: Execution, name: str) -> None:
        execution.active.remove(name)
        self._undo(execution, name)
        execution.timers.pop(_TIMER + name, None)
        execution.asked.pop(name, None)
        if name in execution.entering:
            execution.entering.remove(name)
        for task in [task for task in execution.tasks.values() if task.node_id == name]:
            execution.drop_task(task)
        if execution.held:
            execution.held = {key: event for key, event in execution.held.items() if event.node_id != name}

    def _enter(self, execution: Execution, names: tuple[str, ...], at: datetime) -> None:
        for name in names:
            state = self.flow.states[name]
            self._undo(execution, name)
            if name not in execution.active:
                execution.active.append(name)
            if state.node is not None:
                execution.entering.append(name)
            if state.timer is not None:
                execution.timers[_TIMER + name] = at + timedelta(seconds=state.timer.after)

    def advance(self, turn: Turn) -> None:
        advance(self.flow, turn)

    def complete(self, turn: Turn, task: Task, outcome: TaskSucceeded) -> None:
        complete(self.flow, turn, task, outcome)

    def failed_event(self, turn: Turn, task: Task, event: TaskFailed) -> TaskFailed:
        return event

    def give_up(self, turn: Turn, task: Task, failed: TaskFailed) -> None:
        follow_if_awake(self.flow, turn, failed)

    def wake(self, turn: Turn, timer: str) -> None:
        """A state's timer raises its event; a waiting node completes; a flow whose user did not come is paused."""
        if timer == IDLE:
            turn.emit(ExecutionPaused(reason=IDLE, by="engine"))
            return
        if not timer.startswith(_TIMER):
            task = turn.execution.tasks[timer]
            result = {"waited_until": task.wake_at and rfc3339(task.wake_at)}
            rested = round((turn.now - task.started_at).total_seconds() * 1000)
            done = TaskSucceeded(task_id=timer, attempt=task.attempt, output=result, duration_ms=rested)
            complete(self.flow, turn, task, done)
            return
        state = self.flow.states[timer.removeprefix(_TIMER)]
        if state.timer is None:
            return
        transition = choose(self.flow, turn, state, state.timer.event)
        if transition is None:
            finish(self.flow, turn, state, state.timer.event)
            return
        turn.emit(FlowEventRaised(flow_state=state.name, event=state.timer.event))
        take(self.flow, turn, transition, state.name, state.timer.event)

    def signal(self, turn: Turn, signal: Signal) -> None:
        """Move by an event from outside. One that no transition wants is refused and leaves nothing in the log."""
        execution, name = turn.execution, signal.name.upper()
        if signal.expected_state is not None and signal.expected_state not in execution.active:
            turn.refusal = conflict(
                "STATE_CONFLICT", f"The flow is not in state {signal.expected_state!r}", **self._where(execution)
            )
            return
        try:
            found = [
                (state, transition)
                for state in map(self.flow.states.__getitem__, execution.active)
                if (transition := choose(self.flow, turn, state, name)) is not None
            ]
        except ExpressionError as error:
            turn.refusal = error
            return
        joined = None if found else awaits_join(self.flow, execution, name)
        if not found and joined is None and self._control(turn, signal, name):
            return
        if execution.is_paused and not execution.is_idle:
            turn.refusal = conflict("SESSION_PAUSED", "The flow is paused; resume it first", **self._where(execution))
        elif found:
            state, transition = found[0]
            _wake_up(turn, signal)
            turn.emit(_received(signal, name))
            take(self.flow, turn, transition, state.name, name)
        elif joined is not None:
            _wake_up(turn, signal)
            turn.emit(_received(signal, name))
            finish(self.flow, turn, joined, name)
        elif name in ("USER_INPUT", "USER_MODIFY") and execution.asked:
            _wake_up(turn, signal)
            turn.emit(_received(signal, name))
            changes = signal.payload if isinstance(signal.payload, dict) else {}
            start_node(self.flow, turn, self.flow.states[next(iter(execution.asked))], changes)
        else:
            turn.refusal = self._no_transition(execution, name)

    def _control(self, turn: Turn, signal: Signal, name: str) -> bool:
        """The control events: they work in a flow that has no transition for them."""
        execution = turn.execution
        if name in _PAUSES:
            if not execution.is_paused:
                turn.emit(ExecutionPaused(reason=_reason(signal), by=signal.by))
        elif name in _RESUMES:
            if execution.is_paused:
                self.resume(turn, _reason(signal), signal.by)
        elif name in _ABORTS:
            turn.emit(_received(signal, "ABORT"))
            turn.emit(ExecutionCancelled(reason=_reason(signal), by=signal.by))
        elif name == "RETRY" and execution.last_failed is not None:
            self.retry(turn, signal)
        else:
            return False
        return True

    def retry(self, turn: Turn, signal: Signal) -> None:
        """Enter the state whose node failed last once more; other branches of its fork stay where they are."""
        failed = turn.execution.last_failed
        if failed is None:
            turn.refusal = self._no_transition(turn.execution, "RETRY")
            return
        turn.emit(_received(signal, "RETRY"))
        move(self.flow, turn, self.flow.since(failed, turn.execution.active), (failed,), "RETRY")

    def resume(self, turn: Turn, reason: str, by: str) -> None:
        resume(self.flow, turn, reason, by)

    def resting_reason(self, execution: Execution) -> WaitingReason | None:
        if execution.asked or any(self.flow.states[name].user_input for name in execution.active):
            return WaitingReason.INPUT
        return WaitingReason.TIMER if execution.timers.keys() - {IDLE} else WaitingReason.SIGNAL

    def _no_transition(self, execution: Execution, name: str) -> InterlockError:
        where = self._where(execution)
        return rule_broken(
            "INVALID_TRANSITION", f"No transition from state '{where['current_state']}' on event '{name}'", **where
        )

    def _where(self, execution: Execution) -> dict[str, Any]:
        return {
            "current_state": execution.active[0] if execution.active else None,
            "active_states": list(execution.active),
            "status": str(execution.status),
            "waiting_reason": execution.waiting_reason,
            "valid_events": list(self.flow.valid_events(execution.active)),
            "tick": execution.seq,
        }


def _is_awaited_again(execution: Execution, name: str) -> bool:
    """Whether a state was entered anew while the task that has just ended ran."""
    return name in execution.entering or any(task.node_id == name for task in execution.tasks.values())


def _reason(signal: Signal) -> str:
    """What the sender said, else that it was a signal."""
    told = signal.payload.get("reason") if isinstance(signal.payload, dict) else None
    return str(told) if told else "signal"


def _wake_up(turn: Turn, signal: Signal) -> None:
    """A flow that was paused because nobody came goes on with the event that comes."""
    if turn.execution.is_idle:
        turn.emit(ExecutionResumed(reason="event", by=signal.by))  # nodes of an idle flow are followed at once


def _received(signal: Signal, name: str) -> SignalReceived:
    return SignalReceived(name=name, payload=signal.payload, by=signal.by, signal_id=signal.signal_id)
