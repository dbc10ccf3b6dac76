"""What executors write to the log. Apart from the rest, because a child has no log and should start fast."""

from __future__ import annotations

import structlog

from interlock.ports.node import Attempt

log = structlog.get_logger("executor")


def log_node_error(attempt: Attempt, trace: str) -> None:
    """Write an unforeseen error of a node to the log, with its traceback, which no user is shown."""
    log.error(
        "executor.node_error",
        node_type=attempt.node_type,
        execution_id=str(attempt.execution_id),
        task_id=attempt.task_id,
        attempt=attempt.attempt,
        trace_id=attempt.trace_id,
        traceback=trace,
    )


def log_output(attempt: Attempt, stream: str, text: str) -> None:
    """Write what users' code printed."""
    log.info(
        "task.output",
        stream=stream,
        text=text,
        tenant_id=attempt.tenant_id,
        execution_id=str(attempt.execution_id),
        task_id=attempt.task_id,
        attempt=attempt.attempt,
        trace_id=attempt.trace_id,
    )


def log_dead_child(attempt: Attempt, exit_code: int | None) -> None:
    """Write that a child died of an attempt, or with it. ``exit_code`` is 128 and the signal if there was one."""
    log.warning(
        "executor.child_died",
        exit_code=exit_code,
        node_type=attempt.node_type,
        execution_id=str(attempt.execution_id),
        task_id=attempt.task_id,
        attempt=attempt.attempt,
        trace_id=attempt.trace_id,
    )
