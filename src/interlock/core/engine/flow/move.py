"""The deciding half of flows: enter states, raise events, take transitions, end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from interlock.core.callback import TARGET
from interlock.core.code import CODE_TYPE, WHAT_RUNS
from interlock.core.commands import TaskSucceeded
from interlock.core.engine.environment import Activation
from interlock.core.engine.expressions import ExpressionError, truthy
from interlock.core.engine.flow.compile import CompiledFlow, FlowState, Transition
from interlock.core.engine.flow.over import ERRORS, NEED_USER_INPUT, final_states, full_join, waits_in_vain
from interlock.core.engine.kernels import run_kernel
from interlock.core.engine.retrying import fail_task
from interlock.core.engine.turn import Turn
from interlock.core.events import (
    Answered,
    ArtifactReady,
    ExecutionFailed,
    ExecutionResumed,
    ExecutionSucceeded,
    Failure,
    FlowEventRaised,
    FlowTransitioned,
    TaskCompleted,
    TaskFailed,
    TaskInputRequested,
    TaskStarted,
)
from interlock.core.execution import Execution, Task

STEP_DONE = "STEP_DONE"
BRANCH_OVER = "BRANCH_OVER"
"""On what a flow leaves, at its end, the branches that wait for a fan-in in vain."""
MAX_CHAIN = 1000
"""Transitions without a wait between them."""


def advance(flow: CompiledFlow, turn: Turn) -> None:
    """Start the nodes of entered states until the flow rests or ends."""
    execution = turn.execution
    while execution.ended is None and not execution.is_paused and execution.entering:
        if execution.chain > MAX_CHAIN:
            state, message = execution.entering[0], f"{MAX_CHAIN} transitions without a wait"
            _end_failed(turn, Failure(code="FLOW_LOOP_LIMIT", message=message, node_id=state))
            return
        start_node(flow, turn, flow.states[execution.entering[0]], {})
    if execution.ended is None and not (execution.tasks or execution.entering or execution.held):
        end_if_over(flow, turn)


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
        if node.name == CODE_TYPE:
            _set_code(own, parameters)
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


def _set_code(own: dict[str, Any], parameters: dict[str, Any]) -> None:
    """Which code runs is said by the flow, if it says any: then neither its input nor its user can say it."""
    if "code" in own:
        for name in WHAT_RUNS:
            parameters.pop(name, None)
            if name in own:
                parameters[name] = own[name]


def complete(flow: CompiledFlow, turn: Turn, task: Task, result: TaskSucceeded) -> None:
    """Record a result and follow the event it raises."""
    if result.needs_input:
        asked = TaskInputRequested(
            task_id=task.task_id,
            node_id=task.node_id,
            ui_schema=result.ui_schema,
            output=result.output,
            blackboard=result.blackboard,
        )
        _answer(flow, turn, asked)
        return
    completed = TaskCompleted(
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
    _answer(flow, turn, completed)


def _answer(flow: CompiledFlow, turn: Turn, event: TaskCompleted | TaskInputRequested) -> None:
    turn.emit(event)
    if isinstance(event, TaskCompleted):
        _tell_files(turn, event)
    follow_if_awake(flow, turn, event)


def _tell_files(turn: Turn, event: TaskCompleted) -> None:
    for artifact in event.artifacts:
        turn.emit(ArtifactReady(task_id=event.task_id, node_id=event.node_id, artifact=artifact))


def follow_if_awake(flow: CompiledFlow, turn: Turn, event: Answered) -> None:
    """Follow what a node answered, unless somebody has paused the flow: then ``resume`` does it.

    A flow that was paused because its user did not come goes on with the first thing that comes.
    """
    if turn.execution.is_idle:
        resume(flow, turn, "event", "engine")
    elif not turn.execution.is_paused:
        _follow(flow, turn, event)


def resume(flow: CompiledFlow, turn: Turn, reason: str, by: str) -> None:
    """End a pause, and follow what nodes answered meanwhile, in the order in which they did."""
    held = list(turn.execution.held.values())
    turn.emit(ExecutionResumed(reason=reason, by=by))
    for event in held:
        _follow(flow, turn, event)


def _follow(flow: CompiledFlow, turn: Turn, event: Answered) -> None:
    """Move by what a node answered, if the flow is still in the state of that node."""
    if turn.execution.ended is not None or event.node_id not in turn.execution.active:
        return
    state = flow.states[event.node_id]
    failed = event if isinstance(event, TaskFailed) else None
    try:
        if isinstance(event, TaskCompleted):
            _follow_result(flow, turn, state, event)
        elif failed is None:
            _raise(flow, turn, state, (NEED_USER_INPUT,), event.task_id)
        elif not _raise(flow, turn, state, ERRORS, event.task_id):
            _end_failed(turn, failed.error, failed)
    except ExpressionError as error:
        _end_failed(turn, _guard_failure(state, error), failed)


def _raise(flow: CompiledFlow, turn: Turn, state: FlowState, events: tuple[str, ...], task_id: str) -> bool:
    """Take the transition of the first of these events that has one. Raises ExpressionError."""
    for event in events:
        transition = choose(flow, turn, state, event)
        if transition is not None:
            turn.emit(FlowEventRaised(flow_state=state.name, event=event, task_id=task_id))
            take(flow, turn, transition, state.name, event)
            return True
    return False


def _follow_result(flow: CompiledFlow, turn: Turn, state: FlowState, event: TaskCompleted) -> None:
    task_id = event.task_id
    if _raise(flow, turn, state, (*map(str.upper, event.raised), STEP_DONE), task_id):
        return
    join = full_join(turn.execution, state)
    if join is not None:
        turn.emit(FlowEventRaised(flow_state=state.name, event=join.event, task_id=task_id))
        take(flow, turn, join, state.name, join.event)


def awaits_join(flow: CompiledFlow, execution: Execution, event: str) -> FlowState | None:
    """The first active state without a node that is done, for a fan-in, when somebody sends ``event``."""
    for state in map(flow.states.__getitem__, execution.active):
        if state.node is None and any(
            join.event == event and state.name not in execution.joined.get(join.index, ()) for join in state.joins
        ):
            return state
    return None


def finish(flow: CompiledFlow, turn: Turn, state: FlowState, event: str) -> None:
    """Say that a state is done by an event on which no transition of its own holds; take its fan-in if it is full."""
    turn.emit(FlowEventRaised(flow_state=state.name, event=event))
    join = full_join(turn.execution, state)
    if join is not None:
        take(flow, turn, join, state.name, event)


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


def end_if_over(flow: CompiledFlow, turn: Turn) -> None:
    """End a flow in which nothing runs and that nothing can move any more.

    It has succeeded where it came to an end; branches that wait in vain are left. If all do, it has failed.
    """
    execution = turn.execution
    ends = final_states(flow, execution)
    if ends is None:
        return
    if not ends:
        state, missing = waits_in_vain(flow, execution)
        message = f"The fan-in that '{state}' waits for cannot be taken any more: '{missing}' is not done"
        _end_failed(turn, Failure(code="FLOW_JOIN_UNREACHABLE", message=message, node_id=state))
        return
    left = tuple(name for name in execution.active if name not in ends)
    if left:
        move(flow, turn, left, (), BRANCH_OVER)
    _succeed(turn)


def _succeed(turn: Turn) -> None:
    """Succeed, with the state the flow is in and the newest result of a node."""
    execution = turn.execution
    last = next(reversed(execution.outputs.values()), None)
    state = execution.active[0] if execution.active else None
    turn.emit(ExecutionSucceeded(output={"state": state, "result": last[1] if last is not None else None}))


def _end_failed(turn: Turn, error: Failure, failed: TaskFailed | None = None) -> None:
    if failed is not None:
        error = Failure(
            code=error.code,
            message=error.message,
            node_id=failed.node_id,
            task_id=failed.task_id,
            details=error.details,
        )
    turn.emit(ExecutionFailed(error=error, failed=tuple(turn.execution.failed)))


def _guard_failure(state: FlowState, error: ExpressionError) -> Failure:
    message = f"Guard of {state.name}: {error.message}"
    return Failure(code=error.code, message=message, node_id=state.name, details=error.details)


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
