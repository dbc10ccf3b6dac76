"""Tasks with resources: which of them could begin now, and how one begins once there is a place for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import islice

from interlock.core.commands import TaskPlaced
from interlock.core.engine.graph.activate import activate
from interlock.core.engine.graph.compile import CompiledGraph
from interlock.core.engine.graph.route import owner_of
from interlock.core.engine.program import Seeking
from interlock.core.engine.retrying import start_again
from interlock.core.engine.turn import Turn
from interlock.core.execution import Execution, Phase, Task

WINDOW = 64
"""First attempts of one shape for which an execution asks at a time: more could not begin before it asks again."""

_LOST = ("lost", "crashed")


def seeking(graph: CompiledGraph, execution: Execution, now: datetime, lost: Mapping[str, str]) -> list[Seeking]:
    """The attempts that only lack a place; ``lost`` says by task id how attempts were lost that no other replaces yet.

    No more than may run at a time, beside what runs, and of one shape no more first attempts than ``WINDOW``.
    """
    if execution.ended is not None or execution.is_paused:
        return []
    retries = list(_retries(graph, execution, now))
    found = [*_replacements(execution, lost), *retries]
    room = graph.settings.max_parallel - execution.running - len(retries)
    if room > 0:
        found.extend(islice(_first_attempts(graph, execution), room))
    return found


def seeks_iteration(graph: CompiledGraph, execution: Execution) -> bool:
    """Whether a loop would begin an iteration if there were a place for its first task."""
    return any(next(_iterations(graph, execution.tasks[loop_id]), None) for loop_id in execution.loops)


def _replacements(execution: Execution, lost: Mapping[str, str]) -> Iterator[Seeking]:
    for task_id, word in lost.items():
        task = execution.tasks.get(task_id)
        if task is not None and task.phase is Phase.RUNNING:
            yield Seeking(task_id, task.node_id, task.attempt + 1, word)


def _retries(graph: CompiledGraph, execution: Execution, now: datetime) -> Iterator[Seeking]:
    for task_id, at in execution.timers.items():
        task = execution.tasks.get(task_id)
        if task is not None and at <= now and _is_retrying(graph, task):
            yield Seeking(task_id, task.node_id, task.attempt + 1)


def _is_retrying(graph: CompiledGraph, task: Task) -> bool:
    return task.phase is Phase.RETRYING and graph.vertices[task.node_id].resources is not None


def _first_attempts(graph: CompiledGraph, execution: Execution) -> Iterator[Seeking]:
    left = [WINDOW] * len(graph.shapes)
    full = 0  # shapes of which no more is asked for
    for task_id, ready in execution.ready.items():
        vertex = graph.vertices[ready.node_id]
        if ready.edges and vertex.resources is not None and left[vertex.shape]:
            yield Seeking(task_id, ready.node_id, 1)
            left[vertex.shape] -= 1
            full += not left[vertex.shape]
            if full == len(left):
                break
    for loop_id in execution.loops:
        yield from _iterations(graph, execution.tasks[loop_id])


def _iterations(graph: CompiledGraph, loop: Task) -> Iterator[Seeking]:
    """The iterations a loop may begin now, in order. One with a condition begins them one by one."""
    first = graph.loop_entries[loop.node_id].target
    if graph.vertices[first].resources is None:
        return
    items, limit = loop.input.get("items"), loop.input["limit"]
    end = min(limit if items is None else len(items), loop.finished + loop.input.get("concurrency", 1))
    for index in range(loop.opened, min(end, loop.opened + WINDOW)):
        yield Seeking(f"{loop.task_id}[{index}]/{first}", first, 1)


def place(graph: CompiledGraph, turn: Turn, command: TaskPlaced) -> None:
    """Begin the attempt there is a place for, if it is still the next one of its task and may begin."""
    execution = turn.execution
    task = execution.tasks.get(command.task_id)
    if task is not None:
        _next_attempt(graph, turn, task, command)
        return
    if command.attempt != 1 or execution.running >= graph.settings.max_parallel:
        return
    ready = execution.ready.get(command.task_id)
    if ready is not None and ready.edges:
        activate(graph, turn, ready.scope, graph.vertices[ready.node_id], ready.edges, command.placement)
    elif ready is None:
        _next_iteration(graph, turn, command)


def _next_attempt(graph: CompiledGraph, turn: Turn, task: Task, command: TaskPlaced) -> None:
    if command.attempt != task.attempt + 1:
        return
    is_due = _is_retrying(graph, task) and turn.execution.timers.get(task.task_id, turn.now) <= turn.now
    if is_due or (task.phase is Phase.RUNNING and command.replaces in _LOST):
        start_again(turn, task, replaces=command.replaces, placement=command.placement)


def _next_iteration(graph: CompiledGraph, turn: Turn, command: TaskPlaced) -> None:
    """Begin an iteration by its first task, if it is the next one of its loop."""
    scope, _, node_id = command.task_id.rpartition("/")
    if not scope:
        return
    owner, index = owner_of(f"{scope}/")
    loop = turn.execution.tasks.get(owner)
    if loop is None or loop.phase is not Phase.OPEN or index != loop.opened:
        return
    if any(found.task_id == command.task_id for found in _iterations(graph, loop)):
        first = graph.loop_entries[loop.node_id]
        activate(graph, turn, f"{scope}/", graph.vertices[node_id], (first.index,), command.placement)
