"""The blackboard of a flow as everybody sees it: what was written, what states gave, and what the house says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from interlock.core.execution import Execution

RESULT = "result:"
"""Before the name of a state, in the key of its newest result."""


_ABSENT = object()


class Board(Mapping[str, Any]):
    """A view, not a copy: it reads the execution whenever it is asked.

    Names of the house win over what was written, and that wins over results.
    """

    __slots__ = ("_execution",)

    def __init__(self, execution: Execution) -> None:
        self._execution = execution

    def __getitem__(self, key: str) -> Any:
        found = read_key(self._execution, key, _ABSENT)
        if found is _ABSENT:
            raise KeyError(key)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self.plain())

    def __len__(self) -> int:
        return len(self.plain())

    def plain(self, *, with_results: bool = True) -> dict[str, Any]:
        """All of it as a dict; results may be left out, since they can be large."""
        execution = self._execution
        outputs = execution.outputs if with_results else {}
        results = {RESULT + state: found[1] for state, found in outputs.items()}
        told = {key: tell(execution) for key, tell in _TOLD.items()}
        return {**results, **execution.blackboard, **execution.calling, **told}


def read_key(execution: Execution, key: str, default: Any = None) -> Any:
    """What stands under a key of a flow's board."""
    if key[:1] == "_":
        if (told := _TOLD.get(key)) is not None:
            return told(execution)
        if key in execution.calling:
            return execution.calling[key]
    if key in execution.blackboard:
        return execution.blackboard[key]
    if key.startswith(RESULT) and (found := execution.outputs.get(key.removeprefix(RESULT))) is not None:
        return found[1]
    return default


def board_of(execution: Execution, place: str, home: str) -> Mapping[str, Any]:
    """What an attempt at ``place`` reads of an execution: the board of a flow, the plain blackboard of a graph.

    ``home`` is where the node runs as a rule. What has its home in another process is not sent all results, which
    may be large, with every attempt.
    """
    if execution.program.kind != "flow":
        return execution.blackboard
    board = Board(execution)
    return board.plain(with_results=home != place) if place != "inline" else board


def _state(execution: Execution) -> str | None:
    return execution.active[0] if execution.active else None


_TOLD: dict[str, Callable[[Execution], Any]] = {
    "_params": lambda execution: execution.input,
    "_fsm_state": _state,
    "_current_state": _state,
    "_session_state": lambda execution: "running",  # whoever can ask runs
    "_user_payload": lambda execution: execution.payload,
}
