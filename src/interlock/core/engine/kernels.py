"""What kernel node types mean. Each starts its task and either completes it at once or lets it wait.

A kernel gets the turn, the activation, its rendered parameters and its bare expressions, and works the same in
a graph and in a flow; only maps and loops need a graph around them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from interlock.core.commands import ChildStart, TaskSucceeded
from interlock.core.engine.approving import request_approval
from interlock.core.engine.environment import Activation
from interlock.core.engine.evolve import ITERATIONS
from interlock.core.engine.expressions import Expression, truthy
from interlock.core.engine.retrying import fail_task
from interlock.core.engine.turn import Turn
from interlock.core.events import Failure, TaskStarted
from interlock.core.execution import Task
from interlock.core.ids import ExecutionId

MAX_ITEMS = 100_000
MAX_ITERATIONS = 100_000
DEFAULT_CONCURRENCY = 100

Kernel = Callable[[Turn, Activation, dict[str, Any], Sequence[tuple[str, Expression]]], None]
Expressions = Sequence[tuple[str, Expression]]


def _start(
    turn: Turn, activation: Activation, recorded: Any, *, waits_for: str = "", wake_at: datetime | None = None
) -> Task:
    turn.emit(
        TaskStarted(
            task_id=activation.task_id,
            node_id=activation.node_id,
            input=recorded,
            waits_for=waits_for or None,
            wake_at=wake_at,
        )
    )
    return turn.execution.tasks[activation.task_id]


def _complete(turn: Turn, task: Task, output: Any, port: str, raised: tuple[str, ...] = ()) -> None:
    result = TaskSucceeded(task_id=task.task_id, attempt=task.attempt, output=output, port=port, raised=raised)
    turn.execution.program.complete(turn, task, result)


def _fail(turn: Turn, task: Task, message: str) -> None:
    fail_task(turn, task, Failure(code="PARAMETER_INVALID", message=message))


def trigger(turn: Turn, activation: Activation, parameters: dict[str, Any], expressions: Expressions) -> None:
    """Gives the data the execution was started with."""
    _complete(turn, _start(turn, activation, parameters), turn.execution.input, "result")


def condition(turn: Turn, activation: Activation, parameters: dict[str, Any], expressions: Expressions) -> None:
    """Chooses a port: ``true`` or ``false`` by one expression, or the first of several cases that holds."""
    chosen, held = "default", False
    for name, expression in expressions:
        held = truthy(expression.evaluate(activation.environment(expression.roots)))
        if name == "condition_expression":
            chosen = "true" if held else "false"
            break
        if held:
            chosen = name
            break
    output = {"data": activation.data, "condition_result": held}
    task = _start(turn, activation, parameters)
    _complete(turn, task, output, chosen, ("CONDITION_TRUE" if held else "CONDITION_FALSE",))


def wait(turn: Turn, activation: Activation, parameters: dict[str, Any], expressions: Expressions) -> None:
    """Rests for ``seconds``, until an instant, or until a signal of a name comes (at most ``timeout_seconds``)."""
    signal = parameters.get("signal")
    if signal is not None:
        limit = parameters.get("timeout_seconds")
        wake_at = turn.now + timedelta(seconds=float(limit)) if limit is not None else None
        _start(turn, activation, parameters, waits_for="signal", wake_at=wake_at)
        return
    try:
        wake_at = _wake_at(turn, parameters)
    except (TypeError, ValueError, OverflowError):
        _fail(turn, _start(turn, activation, parameters), "wait needs seconds >= 0, until (an RFC 3339 time) or signal")
        return
    _start(turn, activation, parameters, waits_for="timer", wake_at=wake_at)


def _wake_at(turn: Turn, parameters: dict[str, Any]) -> datetime:
    if "until" in parameters:
        until = datetime.fromisoformat(str(parameters["until"]))
        if until.tzinfo is None:
            raise ValueError("until has no time zone")
        return until
    seconds = float(parameters["seconds"])
    if not seconds >= 0:
        raise ValueError("seconds must not be negative")
    return turn.now + timedelta(seconds=seconds)


def approval(turn: Turn, activation: Activation, parameters: dict[str, Any], expressions: Expressions) -> None:
    """Asks a person and waits for the decision: port ``confirmed``, ``rejected`` or ``timeout``."""
    task = _start(turn, activation, parameters, waits_for="approval")
    request_approval(turn, task, {"request": activation.data, **parameters})


def subworkflow(turn: Turn, activation: Activation, parameters: dict[str, Any], expressions: Expressions) -> None:
    """Starts a child execution in the same commit and waits for its end; its output is the result."""
    reference = str(parameters["workflow"])
    recorded = {"input": activation.data, **parameters}
    if turn.workflows is not None and reference not in turn.workflows:
        task = _start(turn, activation, recorded)
        missing = Failure(code="WORKFLOW_NOT_FOUND", message=f"There is no workflow {reference[:128]!r} to start")
        fail_task(turn, task, missing)
        return
    child_id = turn.ids.new()
    turn.emit(
        TaskStarted(
            task_id=activation.task_id,
            node_id=activation.node_id,
            input=recorded,
            waits_for="child",
            child_id=child_id,
        )
    )
    turn.children.append(
        ChildStart(
            execution_id=ExecutionId(child_id),
            parent_task_id=activation.task_id,
            workflow=reference,
            input=recorded["input"],
        )
    )


def map_items(turn: Turn, activation: Activation, parameters: dict[str, Any], expressions: Expressions) -> None:
    """Runs its body once per item (or per batch of items), at most ``concurrency`` at a time."""
    items = parameters.get("items", activation.data)
    if not isinstance(items, list):
        _fail(turn, _start(turn, activation, None), f"map needs a list of items, not {type(items).__name__}")
        return
    size = int(parameters.get("batch_size") or 0)
    if size > 0:
        items = [items[at : at + size] for at in range(0, len(items), size)]
    width = int(parameters.get("concurrency") or DEFAULT_CONCURRENCY)
    _iterate(turn, activation, {"items": items, "limit": len(items), "concurrency": max(1, width)})


def loop(turn: Turn, activation: Activation, parameters: dict[str, Any], expressions: Expressions) -> None:
    """Runs its body one iteration after the other: over items, a number of times, or while a condition holds."""
    limit = int(parameters.get("max_iterations") or 100)
    if "items" in parameters or not (expressions or "times" in parameters):
        items = parameters.get("items", activation.data)
        if not isinstance(items, list):
            _fail(turn, _start(turn, activation, None), f"loop needs a list of items, not {type(items).__name__}")
            return
        _iterate(turn, activation, {"items": items, "limit": len(items), "concurrency": 1})
    elif "times" in parameters:
        _iterate(turn, activation, {"limit": max(0, int(parameters["times"])), "concurrency": 1})
    else:
        _iterate(turn, activation, {"limit": min(limit, MAX_ITERATIONS), "concurrency": 1, "data": activation.data})


def _iterate(turn: Turn, activation: Activation, recorded: dict[str, Any]) -> None:
    if recorded["limit"] > MAX_ITEMS:
        _fail(turn, _start(turn, activation, None), f"at most {MAX_ITEMS} iterations, not {recorded['limit']}")
        return
    _start(turn, activation, recorded, waits_for=ITERATIONS)


KERNELS: dict[str, Kernel] = {
    "trigger": trigger,
    "condition": condition,
    "wait": wait,
    "approval": approval,
    "subworkflow": subworkflow,
    "map": map_items,
    "loop": loop,
}
