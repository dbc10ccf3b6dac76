"""Attempts of which nobody will hear again: run them anew, give the task up, or ask a person."""

from __future__ import annotations

from interlock.core.commands import AttemptLost
from interlock.core.engine.approving import LOST, request_approval
from interlock.core.engine.retrying import fail_task, start_again, try_later
from interlock.core.engine.turn import Turn
from interlock.core.events import Failure, TaskWaiting
from interlock.core.execution import Task

MAX_CRASHES = 3
"""Deaths of an isolated child before the task is quarantined."""
ASK_SECONDS = 7 * 86_400
"""How long a person may take to say whether a lost attempt is run again."""


def replace_lost(turn: Turn, task: Task, lost: AttemptLost) -> None:
    """Follow up a lost attempt. It is no retry; only deaths of a child process of its own bring quarantine closer.

    Where something was away the next attempt waits, longer each time, and the reason is recorded.
    """
    crashed, on_lost = lost.crashed, turn.execution.program.node_type(task.node_id).on_lost
    if crashed and task.crashes + 1 >= MAX_CRASHES:
        reason = f"its process died {MAX_CRASHES} times while running this task alone"
        fail_task(turn, task, Failure(code="TASK_QUARANTINED", message=f"Quarantined: {reason}"), quarantined=True)
    elif lost.error is not None and (on_lost == "rerun" or not lost.has_begun):
        try_later(turn, task, lost.error)
    elif crashed or on_lost == "rerun":
        word = "crashed" if crashed else "lost"
        if turn.execution.program.resources(task.node_id) is None:
            start_again(turn, task, replaces=word)
        else:
            turn.lost = word
    elif on_lost == "ask":
        _ask(turn, task)
    else:
        fail_task(turn, task, Failure(code="OUTCOME_UNKNOWN", message="The attempt was lost; its effect is unknown"))


def _ask(turn: Turn, task: Task) -> None:
    turn.emit(TaskWaiting(task_id=task.task_id, node_id=task.node_id, waits_for="approval", name=LOST))
    question = {
        "kind": "lost",
        "title": f"Run {task.node_id} again?",
        "description": "Its attempt was lost with the process that ran it; whether it had its effect is unknown.",
        "request": {"task_id": task.task_id, "attempt": task.attempt, "input": task.input},
        "timeout_seconds": ASK_SECONDS,
    }
    request_approval(turn, task, question)
