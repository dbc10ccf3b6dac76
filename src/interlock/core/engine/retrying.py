"""When a failed task is tried again. Only the engine decides that; what runs the attempts repeats nothing."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from uuid import UUID

from interlock.core.engine.turn import Turn
from interlock.core.events import Failure, TaskFailed, TaskStarted
from interlock.core.execution import Task
from interlock.core.resources import Placement
from interlock.core.workflow import RetryPolicy

LONGEST_ASKED = 60.0
"""Seconds: a longer wish of the other side (``retry_after`` in the details of an error) is not kept to."""
ANY_ERROR = "*"
"""Among the codes of ``retry_on``: whatever it failed with."""
INLINE_LOSSES = 2
"""Lost inline attempts after which the next one runs alone in the process pool."""
AWAY = RetryPolicy(backoff=1.0, factor=2.0, max_backoff=60.0)
"""How long attempts wait for what is away. Not how often: that ends with the deadline of the task or the execution."""
_MAX_DOUBLINGS = 10


def fail_attempt(turn: Turn, task: Task, error: Failure) -> None:
    """Record a failed attempt: another one later if the policy allows it, else the end of the task."""
    policy = turn.execution.program.retry_policy(task.node_id)
    retry_at = _retry_at(turn, task, policy, error)
    if retry_at is not None:
        turn.emit(
            TaskFailed(
                task_id=task.task_id,
                node_id=task.node_id,
                attempt=task.attempt,
                error=error,
                will_retry=True,
                retry_at=retry_at,
            )
        )
        return
    fail_task(turn, task, error)


def try_later(turn: Turn, task: Task, error: Failure) -> None:
    """Record an attempt that was lost because something was away: the next one follows later, as often as need be."""
    before = task.attempt - 1 - task.failures - task.losses - task.crashes  # attempts that were lost in this way
    wait = backoff(AWAY, max(0, min(_MAX_DOUBLINGS, before)), turn.execution.execution_id, task.task_id)
    turn.emit(
        TaskFailed(
            task_id=task.task_id,
            node_id=task.node_id,
            attempt=task.attempt,
            error=error,
            will_retry=True,
            retry_at=turn.now + max(wait, _asked(error)),
            lost=True,
        )
    )


def fail_task(turn: Turn, task: Task, error: Failure, *, quarantined: bool = False) -> None:
    """Record that the task is over without a result, and do what its workflow says then."""
    program = turn.execution.program
    failed = program.failed_event(
        turn,
        task,
        TaskFailed(
            task_id=task.task_id, node_id=task.node_id, attempt=task.attempt, error=error, quarantined=quarantined
        ),
    )
    turn.emit(failed)
    program.give_up(turn, task, failed)


def start_again(turn: Turn, task: Task, *, replaces: str = "", placement: Placement | None = None) -> None:
    """Start the next attempt of a task with the input and the effect key it had."""
    losses = task.losses + (replaces == "lost")
    turn.emit(
        TaskStarted(
            task_id=task.task_id,
            node_id=task.node_id,
            attempt=task.attempt + 1,
            replaces=replaces,
            isolated=task.isolated or losses >= INLINE_LOSSES,
            placement=placement,
        )
    )


def backoff(policy: RetryPolicy, failures: int, execution_id: UUID, task_id: str) -> timedelta:
    """The wait before the next attempt. The jitter is derived from the task, so that replay finds the same."""
    seconds = min(policy.max_backoff, policy.backoff * policy.factor**failures)
    if policy.jitter:
        digest = hashlib.blake2b(f"{execution_id}/{task_id}/{failures}".encode(), digest_size=4).digest()
        seconds *= 1 - int.from_bytes(digest, "big") / 2**33
    return timedelta(seconds=seconds)


def _retry_at(turn: Turn, task: Task, policy: RetryPolicy, error: Failure) -> datetime | None:
    wanted = bool({error.code, ANY_ERROR} & set(policy.retry_on)) if policy.retry_on else error.retryable
    if not wanted or task.failures + 1 >= policy.max_attempts:
        return None
    wait = backoff(policy, task.failures, turn.execution.execution_id, task.task_id)
    retry_at = turn.now + max(wait, _asked(error))
    return None if task.deadline_at is not None and retry_at >= task.deadline_at else retry_at


def _asked(error: Failure) -> timedelta:
    """How long the other side, or whoever speaks for it, asked to be left alone."""
    asked = error.details.get("retry_after")
    if not isinstance(asked, int | float) or isinstance(asked, bool):
        return timedelta(0)
    return timedelta(seconds=min(LONGEST_ASKED, max(0.0, asked)))
