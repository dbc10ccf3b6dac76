"""Attempts that outlived the runner that began them."""

from __future__ import annotations

from collections.abc import Mapping

from interlock.core.execution import Phase
from interlock.ports.executor import Attaching, Executor, Report
from interlock.runtime.owned import Owned


def attach(executors: Mapping[str, Executor], owned: Owned, task_id: str, attempt: int, report: Report) -> bool:
    """Whether the executor that was given an attempt can have it report here; if not, it is lost."""
    task = owned.execution.tasks.get(task_id)
    if task is None or task.attempt != attempt or task.phase is not Phase.RUNNING:
        return False
    executor = executors.get(owned.execution.program.node_type(task.node_id).place)
    if not isinstance(executor, Attaching):
        return False
    if not executor.attach(owned.execution.execution_id, task_id, attempt, report):
        return False
    owned.attempts.add(task_id)
    return True
