"""What kernel node types mean. Each starts its task and either completes it at once or lets it wait.

A kernel gets the turn, the activation, its rendered parameters and its bare expressions, and works the same in
a graph and in a flow; only maps and loops need a graph around them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from interlock.core.commands import ChildStart, TaskSucceeded
from interlock.core.engine.approving import DEFAULT_TIMEOUT, request_approval
from interlock.core.engine.environment import Activation
from interlock.core.engine.evolve import ITERATIONS
from interlock.core.engine.expressions import Expression, parse, truthy
from interlock.core.engine.retrying import fail_task
from interlock.core.engine.turn import Turn
from interlock.core.events import Failure, TaskStarted
from interlock.core.execution import Task
from interlock.core.ids import ExecutionId

MAX_ITEMS = 100_000
MAX_ITERATIONS = 100_000
MAX_CASES = 100
MAX_SECONDS = 366 * 86_400
MAX_DEPTH = 32
"""Executions above a sub-workflow."""
MAX_APPROVAL_SECONDS = 30 * 86_400.0
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
            deadline_at=_deadline_at(turn, activation),
        )
    )
    return turn.execution.tasks[activation.task_id]


def _deadline_at(turn: Turn, activation: Activation) -> datetime | None:
    return turn.now + timedelta(seconds=activation.deadline) if activation.deadline is not None else None


def _complete(turn: Turn, task: Task, output: Any, port: str, raised: tuple[str, ...] = ()) -> None:
    result = TaskSucceeded(task_id=task.task_id, attempt=task.attempt, output=output, port=port, raised=raised)
    turn.execution.program.complete(turn, task, result)


class ParameterInvalid(ValueError):
    """A rendered parameter has no usable value; raised before anything was recorded."""


def run_kernel(
    name: str, turn: Turn, activation: Activation, parameters: dict[str, Any], expressions: Expressions
) -> None:
    """Start a kernel node. A parameter without a usable value fails the node as PARAMETER_INVALID."""
    try:
        KERNELS[name](turn, activation, parameters, expressions)
    except ParameterInvalid as error:
        task = _start(turn, activation, None)
        fail_task(turn, task, Failure(code="PARAMETER_INVALID", message=f"{name}: {error}"))


def pass_through(turn: Turn, activation: Activation) -> None:
    """A disabled node does nothing: its data is its result."""
    _complete(turn, _start(turn, activation, None), activation.data, "result")


def _number(parameters: dict[str, Any], name: str, default: float, least: float, most: float) -> float:
    value = parameters.get(name)
    if value is None:
        return default
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ParameterInvalid(f"{name} must be a number, not {str(value)[:64]!r}") from None
    if not least <= number <= most:
        raise ParameterInvalid(f"{name} must be from {least:g} to {most:g}, not {number:g}")
    return number


def _items(parameters: dict[str, Any], activation: Activation) -> list[Any]:
    items = parameters.get("items", activation.data)
    if not isinstance(items, list):
        raise ParameterInvalid(f"items must be a list, not {type(items).__name__}")
    if len(items) > MAX_ITEMS:
        raise ParameterInvalid(f"at most {MAX_ITEMS} items, not {len(items)}")
    return items


def trigger(turn: Turn, activation: Activation, parameters: dict[str, Any], expressions: Expressions) -> None:
    """Gives the data the execution was started with."""
    _complete(turn, _start(turn, activation, parameters), turn.execution.input, "result")


def condition(turn: Turn, activation: Activation, parameters: dict[str, Any], expressions: Expressions) -> None:
    """Chooses a port: ``true`` or ``false`` by one expression, or the first of several cases that holds."""
    chosen, held = "default", False
    for name, expression in expressions or _given(parameters):
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


def _given(parameters: dict[str, Any]) -> Expressions:
    """The expressions that a session brings, where its flow has none. Raises ExpressionError, ParameterInvalid."""
    text, cases = parameters.get("condition_expression"), parameters.get("cases")
    if isinstance(text, str):
        return [("condition_expression", parse(text))]
    if not isinstance(cases, list) or not 0 < len(cases) <= MAX_CASES or not all(map(_is_case, cases)):
        raise ParameterInvalid(f"say condition_expression, a text, or cases, 1 to {MAX_CASES} of {{port, when}}")
    return [(case["port"], parse(case["when"])) for case in cases]


def _is_case(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("port"), str) and isinstance(value.get("when"), str)


def wait(turn: Turn, activation: Activation, parameters: dict[str, Any], expressions: Expressions) -> None:
    """Rests for ``seconds``, until an instant, or until a signal of a name comes (at most ``timeout_seconds``)."""
    if parameters.get("signal") is None:
        _start(turn, activation, parameters, waits_for="timer", wake_at=_wake_at(turn, parameters))
        return
    limit = _number(parameters, "timeout_seconds", 0, 0, MAX_SECONDS)
    wake_at = turn.now + timedelta(seconds=limit) if limit else None
    _start(turn, activation, parameters, waits_for="signal", wake_at=wake_at)


def _wake_at(turn: Turn, parameters: dict[str, Any]) -> datetime:
    if "until" not in parameters:
        if "seconds" not in parameters:
            raise ParameterInvalid("say seconds, until (an RFC 3339 time) or signal")
        return turn.now + timedelta(seconds=_number(parameters, "seconds", 0, 0, MAX_SECONDS))
    try:
        until = datetime.fromisoformat(str(parameters["until"]))
    except ValueError:
        raise ParameterInvalid(f"until must be an RFC 3339 time, not {str(parameters['until'])[:64]!r}") from None
    if until.tzinfo is None:
        raise ParameterInvalid("until needs a time zone, such as Z")
    return until


def approval(turn: Turn, activation: Activation, parameters: dict[str, Any], expressions: Expressions) -> None:
    """Asks a person and waits for the decision: port ``confirmed``, ``rejected`` or ``timeout``."""
    question = {"request": activation.data, **parameters}
    question["timeout_seconds"] = _number(parameters, "timeout_seconds", DEFAULT_TIMEOUT, 1, MAX_APPROVAL_SECONDS)
    for name in ("fields", "options", "assignees", "escalate_to"):
        if not isinstance(question.get(name) or [], list):
            raise ParameterInvalid(f"{name} must be a list, not {type(question[name]).__name__}")
    if not all(isinstance(field, dict) for field in question.get("fields") or []):
        raise ParameterInvalid("each of fields must be an object")
    task = _start(turn, activation, parameters, waits_for="approval")
    request_approval(turn, task, question)


def subworkflow(turn: Turn, activation: Activation, parameters: dict[str, Any], expressions: Expressions) -> None:
    """Starts a child execution in the same commit and waits for its end; its output is the result."""
    reference = str(parameters.get("workflow") or "")
    if not reference:
        raise ParameterInvalid("name the workflow to start")
    recorded = {"input": activation.data, **parameters}
    if turn.workflows is not None and reference not in turn.workflows:
        task = _start(turn, activation, recorded)
        missing = Failure(code="WORKFLOW_NOT_FOUND", message=f"There is no workflow {reference[:128]!r} to start")
        fail_task(turn, task, missing)
        return
    depth = (turn.execution.parent.depth if turn.execution.parent is not None else 0) + 1
    if depth > MAX_DEPTH:
        task = _start(turn, activation, recorded)
        too_deep = f"Sub-workflows may lie {MAX_DEPTH} deep; does {reference[:128]!r} start itself?"
        fail_task(turn, task, Failure(code="SUBWORKFLOW_TOO_DEEP", message=too_deep))
        return
    child_id = turn.ids.new()
    turn.emit(
        TaskStarted(
            task_id=activation.task_id,
            node_id=activation.node_id,
            input=recorded,
            waits_for="child",
            child_id=child_id,
            deadline_at=_deadline_at(turn, activation),
        )
    )
    turn.children.append(
        ChildStart(
            execution_id=ExecutionId(child_id),
            parent_task_id=activation.task_id,
            workflow=reference,
            input=recorded["input"],
            depth=depth,
        )
    )


def map_items(turn: Turn, activation: Activation, parameters: dict[str, Any], expressions: Expressions) -> None:
    """Runs its body once per item (or per batch of items), at most ``concurrency`` at a time."""
    items = _items(parameters, activation)
    size = int(_number(parameters, "batch_size", 0, 0, MAX_ITEMS))
    if size > 0:
        items = [items[at : at + size] for at in range(0, len(items), size)]
    width = int(_number(parameters, "concurrency", DEFAULT_CONCURRENCY, 1, MAX_ITEMS))
    _iterate(turn, activation, {"items": items, "limit": len(items), "concurrency": width})


def loop(turn: Turn, activation: Activation, parameters: dict[str, Any], expressions: Expressions) -> None:
    """Runs its body one iteration after the other: over items, a number of times, or while a condition holds."""
    if "items" in parameters or not (expressions or "times" in parameters):
        items = _items(parameters, activation)
        _iterate(turn, activation, {"items": items, "limit": len(items), "concurrency": 1})
    elif "times" in parameters:
        times = int(_number(parameters, "times", 0, 0, MAX_ITERATIONS))
        _iterate(turn, activation, {"limit": times, "concurrency": 1})
    else:
        limit = int(_number(parameters, "max_iterations", 100, 1, MAX_ITERATIONS))
        _iterate(turn, activation, {"limit": limit, "concurrency": 1, "data": activation.data})


def _iterate(turn: Turn, activation: Activation, recorded: dict[str, Any]) -> None:
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
