"""The deciding half of flows: enter states, raise events, take transitions, end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from interlock.core.callback import TARGET
from interlock.core.commands import TaskSucceeded
from interlock.core.engine.environment import Activation
from interlock.core.engine.expressions import ExpressionError, truthy
from interlock.core.engine.flow.compile import CompiledFlow, FlowState, Transition
from interlock.core.engine.kernels import run_kernel
from interlock.core.engine.retrying import fail_task
from interlock.core.engine.turn import Turn
from interlock.core.events import (
    ExecutionFailed,
    ExecutionSucceeded,
    Failure,
    FlowEventRaised,
    FlowTransitioned,
    TaskCompleted,
    TaskInputRequested,
    TaskStarted,
)
from interlock.core.execution import Execution, Task

STEP_DONE = "STEP_DONE"
ERRORS = ("ERROR", "EVENT_ERROR")
MAX_CHAIN = 1000
"""Transitions without a wait between them."""


def advance(flow: CompiledFlow, turn: Turn) -> None:
    """Start the nodes of entered states until the flow rests or ends."""
    execution = turn.execution
    while execution.ended is None and not execution.is_paused and execution.entering:
        if execution.chain > MAX_CHAIN:
            _end_failed(turn, Failure(code="FLOW_LOOP_LIMIT", message=f"{MAX_CHAIN} transitions without a wait"))
            return
        start_node(flow, turn, flow.states[execution.entering[0]], {})
    if execution.ended is None and not execution.tasks and not execution.entering:
        if all(flow.states[name].is_terminal for name in execution.active):
            succeed(turn)


def start_node(flow: CompiledFlow, turn: Turn, state: FlowState, changes: dict[str, Any]) -> None:
    """Begin a task for a flow state; ``changes`` override its parameters (input a user was asked for)."""
    execution = turn.execution
    activation = _activation(flow, turn, state)
    node = state.node
    if node is None:
        raise TypeError(f"flow state {state.name} has no node")
    base = execution.input if isinstance(execution.input, dict) else {}
    try:
        own = state.template.render(activation.environment(state.template.roots))
        parameters = {**base, **own, **changes}
        _set_target(own, parameters)
        if node.runs == "kernel":
            run_kernel(node.name, turn, activation, parameters, state.expressions)
            return
    except ExpressionError as error:
        turn.emit(TaskStarted(task_id=activation.task_id, node_id=state.name))
        failure = Failure(code=error.code, message=error.message, details=error.details)
        fail_task(turn, execution.tasks[activation.task_id], failure)
        return
    turn.emit(
        TaskStarted(
            task_id=activation.task_id,
            node_id=state.name,
            input=parameters,
            deadline_at=turn.now + timedelta(seconds=state.deadline) if state.deadline is not None else None,
        )
    )


def _set_target(own: dict[str, Any], parameters: dict[str, Any]) -> None:
    """Whom a webhook node calls is said by the flow: neither its input nor its user can say it."""
    parameters.pop(TARGET, None)
    if TARGET in own:
        parameters[TARGET] = own[TARGET]


def complete(flow: CompiledFlow, turn: Turn, task: Task, result: TaskSucceeded) -> None:
    """Record a result and follow the event it raises."""
    state = flow.states[task.node_id]
    if result.needs_input:
        _ask(flow, turn, task, result)
        return
    turn.emit(
        TaskCompleted(
            task_id=task.task_id,
            node_id=task.node_id,
            output=result.output,
            port=result.port,
            blackboard=result.blackboard,
            artifacts=result.artifacts,
            raised=result.raised,
            ui_schema=result.ui_schema,
            duration_ms=result.duration_ms,
        )
    )
    try:
        _follow(flow, turn, state, (*map(str.upper, result.raised), STEP_DONE), task.task_id)
    except ExpressionError as error:
        _end_failed(turn, _guard_failure(state, error))


def _follow(flow: CompiledFlow, turn: Turn, state: FlowState, events: tuple[str, ...], task_id: str) -> None:
    for event in events:
        transition = choose(flow, turn, state, event)
        if transition is not None:
            turn.emit(FlowEventRaised(flow_state=state.name, event=event, task_id=task_id))
            take(flow, turn, transition, state.name, event)
            return
    for join in state.joins:
        if set(turn.execution.joined.get(join.index, ())) == set(join.source):
            turn.emit(FlowEventRaised(flow_state=state.name, event=join.event, task_id=task_id))
            take(flow, turn, join, state.name, join.event)
            return
    if not state.out and not state.joins and not state.user_input and state.timer is None:
        if turn.execution.active == [state.name]:
            succeed(turn)


def _ask(flow: CompiledFlow, turn: Turn, task: Task, result: TaskSucceeded) -> None:
    turn.emit(
        TaskInputRequested(
            task_id=task.task_id,
            node_id=task.node_id,
            ui_schema=result.ui_schema,
            output=result.output,
            blackboard=result.blackboard,
        )
    )
    state = flow.states[task.node_id]
    transition = choose(flow, turn, state, "NEED_USER_INPUT")
    if transition is not None:
        turn.emit(FlowEventRaised(flow_state=state.name, event="NEED_USER_INPUT", task_id=task.task_id))
        take(flow, turn, transition, state.name, "NEED_USER_INPUT")


def choose(flow: CompiledFlow, turn: Turn, state: FlowState, event: str) -> Transition | None:
    """The first transition of ``state`` on ``event`` whose guard holds. Raises ExpressionError."""
    for transition in state.out.get(event, ()):
        if transition.when is None:
            return transition
        environment = _activation(flow, turn, state).environment(transition.when.roots)
        if truthy(transition.when.evaluate(environment)):
            return transition
    return None


def take(flow: CompiledFlow, turn: Turn, transition: Transition, source: str, event: str) -> None:
    """Move along a transition; what it enters starts when the turn settles."""
    sources = transition.source if transition.fan_in else (source,)
    move(flow, turn, sources, transition.target, event)


def move(flow: CompiledFlow, turn: Turn, source: tuple[str, ...], target: tuple[str, ...], event: str) -> None:
    """Record a transition with what is active, valid and awaited after it."""
    active = [name for name in turn.execution.active if name not in source]
    active.extend(name for name in target if name not in active)
    turn.emit(
        FlowTransitioned(
            source=source,
            target=target,
            event=event,
            active=tuple(active),
            valid_events=flow.valid_events(active),
            rests=_rests(flow, turn.execution, active, target),
        )
    )


def _rests(flow: CompiledFlow, execution: Execution, active: list[str], target: tuple[str, ...]) -> str:
    if any(flow.states[name].node is not None for name in target):
        return ""
    if all(flow.states[name].is_terminal for name in active):
        return "end"
    if any(flow.states[name].user_input for name in active):
        return "user"
    return "timer" if any(flow.states[name].timer is not None for name in active) else "event"


def give_up(flow: CompiledFlow, turn: Turn, task: Task, error: Failure) -> None:
    """A task is over without a result: the flow's error transition, or the end of the execution."""
    state = flow.states[task.node_id]
    try:
        for event in ERRORS:
            transition = choose(flow, turn, state, event)
            if transition is not None:
                turn.emit(FlowEventRaised(flow_state=state.name, event=event, task_id=task.task_id))
                take(flow, turn, transition, state.name, event)
                return
    except ExpressionError as bad:
        error = _guard_failure(state, bad)
    _end_failed(turn, error, task)


def succeed(turn: Turn) -> None:
    """Succeed, with the state the flow is in and the newest result of a node."""
    execution = turn.execution
    last = next(reversed(execution.outputs.values()), None)
    state = execution.active[0] if execution.active else None
    turn.emit(ExecutionSucceeded(output={"state": state, "result": last[1] if last is not None else None}))


def _end_failed(turn: Turn, error: Failure, task: Task | None = None) -> None:
    if task is not None:
        error = Failure(
            code=error.code,
            message=error.message,
            node_id=task.node_id,
            task_id=task.task_id,
            details=error.details,
        )
    turn.emit(ExecutionFailed(error=error, failed=tuple(turn.execution.failed)))


def _guard_failure(state: FlowState, error: ExpressionError) -> Failure:
    return Failure(code=error.code, message=f"Guard of {state.name}: {error.message}", details=error.details)


def _activation(flow: CompiledFlow, turn: Turn, state: FlowState) -> Activation:
    execution = turn.execution
    visit = execution.visits.get(state.name, 0) + 1
    data = execution.payload if execution.payload is not None else execution.input
    return Activation(
        execution,
        turn.now,
        state.name if visit == 1 else f"{state.name}#{visit}",
        state.name,
        "",
        data,
        {"main": data},
        None,
        state.parameters,
        flow.names,
        state.deadline,
    )
