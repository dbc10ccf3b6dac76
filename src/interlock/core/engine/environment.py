"""What expressions can see: the roots of the language, filled for one activation of a node."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from interlock.core.engine.flow.board import read_key
from interlock.core.execution import Execution


class NodeOutputs(Mapping[str, Any]):
    """``$node["id or name"].<port>``: outputs of finished nodes, the innermost scope first."""

    def __init__(self, execution: Execution, scope: str, names: Mapping[str, str]) -> None:
        self._execution = execution
        self._scope = scope
        self._names = names

    def __getitem__(self, key: str) -> Any:
        node_id = self._names.get(key, key)
        scope = self._scope
        while True:
            found = self._execution.outputs.get(scope + node_id)
            if found is not None:
                return {found[0]: found[1], "result": found[1]}
            if not scope:
                raise KeyError(key)
            scope = scope[: scope[:-1].rfind("/") + 1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class Activation:
    """One activation of a node on its way to its first attempt: its data, and the roots it may use."""

    __slots__ = (
        "config",
        "data",
        "deadline",
        "execution",
        "inputs",
        "loop",
        "names",
        "node_id",
        "now",
        "scope",
        "task_id",
    )

    def __init__(
        self,
        execution: Execution,
        now: datetime,
        task_id: str,
        node_id: str,
        scope: str,
        data: Any,
        inputs: dict[str, Any],
        loop: dict[str, Any] | None,
        config: Mapping[str, Any],
        names: Mapping[str, str],
        deadline: float | None = None,
    ) -> None:
        self.execution = execution
        self.now = now
        self.task_id = task_id
        self.node_id = node_id
        self.scope = scope
        self.data = data
        self.inputs = inputs
        self.loop = loop
        self.config = config
        self.names = names
        self.deadline = deadline  # seconds for the whole task

    def environment(self, roots: Iterable[str]) -> dict[str, Any]:
        """Only the roots asked for, since building all of them costs more than most expressions.

        A name that is no root of the language is a key of the board (flows allow it in their parameters).
        """
        return {root: _ROOTS[root](self) if root in _ROOTS else read_key(self.execution, root) for root in roots}


def instant(at: datetime) -> str:
    """RFC 3339 UTC with milliseconds and ``Z``."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _execution(activation: Activation) -> dict[str, Any]:
    started_at = activation.execution.started_at
    return {
        "id": str(activation.execution.execution_id),
        "started_at": instant(started_at) if started_at is not None else None,
    }


_ROOTS: dict[str, Callable[[Activation], Any]] = {
    "$json": lambda activation: activation.data,
    "data": lambda activation: activation.data,
    "$input": lambda activation: activation.inputs,
    "output": lambda activation: activation.inputs,
    "$config": lambda activation: activation.config,
    "$trigger": lambda activation: activation.execution.input,
    "context": lambda activation: {"execution": _execution(activation), "trigger": activation.execution.input},
    "variables": lambda activation: activation.execution.blackboard,
    "$node": lambda activation: NodeOutputs(activation.execution, activation.scope, activation.names),
    "$loop": lambda activation: activation.loop,
    "$execution": _execution,
    "$now": lambda activation: instant(activation.now),
}
