"""What became of a run: a fold of its frames, and the results by node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from interlock.client.errors import RunCancelled, RunFailed, TaskFailed
from interlock.client.frames import Frame, RunFinished, TaskFinished, TaskRaised, TaskStarted
from interlock.client.graph import Node


class Results(Mapping[str, Any]):
    """What the tasks of a run gave: by node, by the name of a node, or by the id of a task."""

    def __init__(self, by_name: Mapping[str, Any], ids: Mapping[str, str]) -> None:
        self._by_name = by_name
        self._ids = ids  # task id -> name

    def __getitem__(self, key: str | Node) -> Any:
        if isinstance(key, Node):
            return self._by_name[key.label]
        return self._by_name[key] if key in self._by_name else self._by_name[self._ids[key]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def __repr__(self) -> str:
        return f"Results({dict(self._by_name)!r})"


class Outcome:
    """Folds the frames of a run. ``names`` are those of its tasks by id, as far as they are known before."""

    def __init__(self, run_id: str, names: Mapping[str, str]) -> None:
        self.run_id = run_id
        self.status = ""
        self._names = dict(names)
        self._given: dict[str, Any] = {}
        self._failures: dict[str, TaskFailed] = {}

    def take(self, frame: Frame) -> None:
        """The next frame."""
        if isinstance(frame, TaskStarted):
            self._names.setdefault(frame.task_id, self._unused(frame.task_name or frame.task_id))
        elif isinstance(frame, TaskFinished):
            self._given[frame.task_id] = frame.result
        elif isinstance(frame, TaskRaised):
            self._failures[frame.task_id] = TaskFailed(
                frame.result, error_type=frame.error_type, task_id=frame.task_id, run_id=self.run_id
            )
        elif isinstance(frame, RunFinished):
            self.status = frame.status

    def results(self) -> Results:
        """What the tasks gave. Raises RunFailed, RunCancelled."""
        given = {self._names.get(task_id, task_id): value for task_id, value in self._given.items()}
        results = Results(given, self._names)
        if self.status == "cancelled":
            raise RunCancelled(self.run_id, results)
        if self.status != "succeeded":
            failures = {self._names.get(task_id, task_id): error for task_id, error in self._failures.items()}
            raise RunFailed(self.run_id, failures, results)
        return results

    def _unused(self, name: str) -> str:
        taken = set(self._names.values())
        number = 2
        label = name
        while label in taken:
            label, number = f"{name}_{number}", number + 1
        return label
