"""A draft as the graph that is run: the tasks with their code, what joins them, and what they are given."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from interlock.core.code import CODE_TYPE
from interlock.core.draft import DraftTask, Retrying, SavedTask, broken
from interlock.core.engine.retrying import ANY_ERROR
from interlock.core.placing.over_ask import Policy
from interlock.core.workflow import (
    BatchPolicy,
    ConnectionDefinition,
    GraphDefinition,
    GraphSettings,
    NodeDefinition,
    Reference,
    RetryPolicy,
)

MOST_AT_ONCE = 10_000
CALLED = "call"
"""The one node of a single call."""


def freeze_draft(
    tasks: Sequence[DraftTask], edges: Iterable[tuple[str, str]], over_ask: Policy | None
) -> GraphDefinition:
    """The graph of a draft. Tasks that are called one by one are left out.

    Raises RULE for a task without code, and for a reference to a task that is no longer there.
    """
    called = {task.task_id: task for task in tasks if task.kind == "code"}
    nodes = tuple(_node(task, called.keys()) for task in called.values())
    connections = tuple(
        ConnectionDefinition(source=source, target=target)
        for source, target in edges
        if source in called and target in called
    )
    settings = GraphSettings(max_parallel=MOST_AT_ONCE, on_failure="continue", output={}, over_ask=over_ask)
    return GraphDefinition(nodes=nodes, connections=connections, settings=settings)


def freeze_call(task: DraftTask, timeout: float) -> GraphDefinition:
    """The graph of one call of a task, whose arguments are pickles named by the execution's input."""
    saved = _saved(task)
    parameters = {
        "code": saved.code,
        "form": saved.form,
        "args": "{{ $trigger.args }}",
        "kwargs": "{{ $trigger.kwargs }}",
    }
    node = NodeDefinition(
        id=CALLED,
        type=CODE_TYPE,
        name=task.name,
        parameters=parameters,
        timeout=timeout,
        retry=_retry(saved.retry),
        resources=saved.resources,
    )
    return GraphDefinition(nodes=(node,))


def _node(task: DraftTask, known: Iterable[str]) -> NodeDefinition:
    saved = _saved(task)
    lost = [source for source in saved.sources if source not in known]
    if lost:
        raise broken(f"Task '{task.name}' refers to missing task '{lost[0]}'", task_id=task.task_id)
    return NodeDefinition(
        id=task.task_id,
        type=CODE_TYPE,
        name=task.name,
        parameters={
            "code": saved.code,
            "form": saved.form,
            "function": task.name if saved.form == "source" else "",
        },
        input={found.key: found.value for found in saved.inputs if not found.source},
        arguments={
            found.key: Reference(node=found.source, key=found.source_key) for found in saved.inputs if found.source
        },
        timeout=saved.timeout,
        retry=_retry(saved.retry),
        join="every",
        resources=saved.resources,
        batch=BatchPolicy(size=saved.batching.size, seconds=saved.batching.timeout) if saved.batching else None,
    )


def _saved(task: DraftTask) -> SavedTask:
    if task.saved is None:
        raise broken(f"Task '{task.name}' has no code", task_id=task.task_id)
    return task.saved


def _retry(told: Retrying) -> RetryPolicy:
    return RetryPolicy(
        max_attempts=told.max_attempts,
        backoff=told.backoff,
        max_backoff=told.max_backoff,
        retry_on=(ANY_ERROR,) if told.max_attempts > 1 else (),
    )
