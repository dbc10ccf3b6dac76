"""The deciding half of graphs: start what is ready, turn the loops, and end when nothing is left."""

from __future__ import annotations

from typing import Any

from interlock.core.commands import TaskSucceeded
from interlock.core.engine.environment import Activation
from interlock.core.engine.expressions import ExpressionError, truthy
from interlock.core.engine.graph.activate import activate, dead_edges, loop_of
from interlock.core.engine.graph.compile import CompiledGraph
from interlock.core.engine.graph.route import result_of
from interlock.core.engine.retrying import fail_task
from interlock.core.engine.turn import Turn
from interlock.core.events import ExecutionFailed, ExecutionSucceeded, Failure, TaskCompleted, TaskSkipped
from interlock.core.execution import Execution, Ready, Task


def advance(graph: CompiledGraph, turn: Turn) -> None:
    """Do everything that can be done now; whatever is left waits for a result, a signal or a timer."""
    execution = turn.execution
    if execution.is_paused:
        return
    moved = True
    while moved and execution.ended is None:
        moved = bool(execution.mailbox) and _read_mail(graph, turn)
        if execution.ready and execution.ended is None:
            moved = _start_ready(graph, turn) or moved
        for task_id in list(execution.loops):
            if task_id in execution.loops:
                moved = _turn(graph, turn, execution.tasks[task_id]) or moved
    if execution.ended is None and execution.scopes.get("") == 0:
        _end(graph, turn)


def _read_mail(graph: CompiledGraph, turn: Turn) -> bool:
    """Give kept signals to the tasks that wait for them."""
    execution = turn.execution
    waiting = [
        task for task in execution.tasks.values() if task.waits_for == "signal" and execution.mailbox.get(task.name)
    ]
    for task in waiting:
        if execution.ended is None and execution.mailbox.get(task.name):
            finish(turn, task, execution.mailbox[task.name][0], "result")
    return bool(waiting)


def _start_ready(graph: CompiledGraph, turn: Turn) -> bool:
    execution = turn.execution
    moved = False
    for task_id, ready in _startable(graph, execution):
        if execution.ended is not None or task_id not in execution.ready:
            continue
        vertex = graph.vertices[ready.node_id]
        is_full = execution.running >= graph.settings.max_parallel
        if not ready.edges:
            turn.emit(TaskSkipped(task_id=task_id, node_id=vertex.id, reason="no live connection reaches it"))
        elif vertex.type.runs == "task" and is_full:
            continue
        else:
            activate(graph, turn, ready.scope, vertex, ready.edges)
        moved = True
    return moved


def _startable(graph: CompiledGraph, execution: Execution) -> list[tuple[str, Ready]]:
    """What is ready and needs no place; the others stay ready until there is one for them."""
    if not graph.has_places:
        return list(execution.ready.items())
    vertices = graph.vertices
    return [
        found for found in execution.ready.items() if not found[1].edges or vertices[found[1].node_id].resources is None
    ]


def _turn(graph: CompiledGraph, turn: Turn, loop: Task) -> bool:
    """Begin as many iterations as the loop may have, or end it."""
    execution = turn.execution
    before = execution.seq
    first = graph.loop_entries[loop.node_id]
    needs_place = graph.vertices[first.target].resources is not None
    width = loop.input.get("concurrency", 1)
    try:
        while (
            not needs_place
            and execution.ended is None
            and loop.opened - loop.finished < width
            and execution.running < graph.settings.max_parallel
            and has_more(graph, turn, loop)
        ):
            scope = f"{loop.task_id}[{loop.opened}]/"
            activate(graph, turn, scope, graph.vertices[first.target], (first.index,))
        if execution.ended is None and loop.opened == loop.finished and not has_more(graph, turn, loop):
            results = [loop.results[index] for index in range(loop.opened)]
            finish(turn, loop, results, "completed")
    except ExpressionError as error:
        fail_task(turn, loop, Failure(code=error.code, message=error.message, details=error.details))
    return execution.seq != before


def has_more(graph: CompiledGraph, turn: Turn, loop: Task) -> bool:
    """Whether another iteration is to come. The condition of a *while* loop is asked before each."""
    items, limit = loop.input.get("items"), loop.input["limit"]
    if items is not None or loop.opened >= limit:
        return loop.opened < (limit if items is None else len(items))
    conditions = dict(graph.vertices[loop.node_id].expressions)
    condition = conditions.get("while")
    if condition is None or loop.opened > loop.finished:
        return condition is None
    vertex = graph.vertices[loop.node_id]
    previous = loop.results.get(loop.opened - 1, loop.input.get("data"))
    activation = Activation(
        turn.execution,
        turn.now,
        loop.task_id,
        loop.node_id,
        loop.scope,
        previous,
        {"main": previous},
        {"index": loop.opened, "item": previous, "outer": loop_of(turn.execution, loop.scope)},
        vertex.definition.parameters,
        graph.names,
    )
    return truthy(condition.evaluate(activation.environment(condition.roots)))


def finish(turn: Turn, task: Task, output: Any, port: str) -> None:
    """Complete a kernel task with ``output`` on ``port``."""
    result = TaskSucceeded(task_id=task.task_id, attempt=task.attempt, output=output, port=port)
    turn.execution.program.complete(turn, task, result)


def complete(graph: CompiledGraph, turn: Turn, task: Task, outcome: TaskSucceeded) -> None:
    """Record a result; the conditions of the connections behind it are evaluated now, once."""
    vertex = graph.vertices[task.node_id]
    try:
        dead = dead_edges(graph, turn, task.scope, vertex, outcome.port, outcome.output)
    except ExpressionError as error:
        fail_task(turn, task, Failure(code=error.code, message=error.message, details=error.details))
        return
    turn.emit(
        TaskCompleted(
            task_id=task.task_id,
            node_id=vertex.id,
            output=outcome.output,
            port=outcome.port,
            dead=dead,
            blackboard=outcome.blackboard,
            artifacts=outcome.artifacts,
            raised=outcome.raised,
            ui_schema=outcome.ui_schema,
            duration_ms=outcome.duration_ms,
        )
    )


def _end(graph: CompiledGraph, turn: Turn) -> None:
    execution = turn.execution
    failed, skipped = tuple(execution.failed), tuple(execution.skipped)
    if failed:
        error = execution.error or Failure(code="TASK_FAILED", message="A task failed")
        turn.emit(ExecutionFailed(error=error, failed=failed, skipped=skipped))
        return
    try:
        turn.emit(ExecutionSucceeded(output=_output(graph, turn)))
    except ExpressionError as bad:
        error = Failure(code=bad.code, message=f"settings.output: {bad.message}", details=bad.details)
        turn.emit(ExecutionFailed(error=error, failed=failed, skipped=skipped))


def _output(graph: CompiledGraph, turn: Turn) -> Any:
    execution = turn.execution
    result = result_of(graph, execution, "", "")
    if graph.output is None:
        return result
    activation = Activation(execution, turn.now, "", "", "", result, {"main": result}, None, {}, graph.names)
    return graph.output.render(activation.environment(graph.output.roots))
