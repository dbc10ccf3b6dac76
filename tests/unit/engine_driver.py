"""Drives the pure engine as a runner would, with the outcomes a test chooses; compares memory with the log."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from interlock.core.commands import (
    Advance,
    AttemptLost,
    Command,
    Signal,
    SignalKind,
    TaskErred,
    TaskPlaced,
    TaskSucceeded,
)
from interlock.core.engine.decide import decide, start
from interlock.core.engine.evolve import fold
from interlock.core.engine.flow.program import FlowProgram
from interlock.core.engine.graph.program import GraphProgram
from interlock.core.engine.program import Program, Seeking
from interlock.core.engine.turn import Turn
from interlock.core.events import (
    ApprovalRequested,
    Event,
    ExecutionStarted,
    Failure,
    Parent,
    Recorded,
    decode_event,
    encode_data,
)
from interlock.core.execution import Execution, Phase
from interlock.core.ids import ExecutionId
from interlock.core.node_type import NodeType
from interlock.core.resources import Placement
from interlock.core.workflow import FlowDefinition, GraphDefinition
from interlock.kit.ids import CountingIds

START = datetime(2026, 1, 1, tzinfo=UTC)
KERNELS = ("trigger", "condition", "wait", "approval", "map", "loop", "subworkflow")
CATALOGUE = {
    name: NodeType(
        name=name,
        title=name,
        description="",
        runs="kernel" if name in KERNELS else "task",
        data_parameter="input" if name == "echo" else None,
        expressions=frozenset({"condition_expression", "cases", "while"})
        if name in ("condition", "loop")
        else frozenset(),
    )
    for name in (*KERNELS, "transform", "echo", "fragile", "code")
} | {
    "charge": NodeType(name="charge", title="charge", description="", on_lost="ask"),
    "shoot": NodeType(name="shoot", title="shoot", description="", on_lost="unknown"),
}
Outcome = Callable[[str, int, Any], TaskSucceeded | TaskErred]


def compile_definition(definition: GraphDefinition | FlowDefinition) -> Program:
    if isinstance(definition, GraphDefinition):
        return GraphProgram(definition, CATALOGUE)
    return FlowProgram(definition, CATALOGUE)


class Driver:
    """One execution, its log, and a clock that is moved by hand."""

    def __init__(
        self,
        definition: GraphDefinition | FlowDefinition,
        input: Any = None,
        *,
        start_at: str | None = None,
        parent: Parent | None = None,
    ) -> None:
        self.program = compile_definition(definition)
        self.ids = CountingIds()
        self.now = START
        self.execution_id = ExecutionId(self.ids.new())
        self.execution = Execution(self.execution_id, self.program)
        self.log: list[Recorded] = []
        self.cuts: list[int] = []  # log length after each entry: the places where a crash can cut it
        self.inbox_seq = 0
        self.lost: dict[str, str] = {}  # attempts whose task seeks another place
        event = ExecutionStarted(
            workflow_id=None,
            version_id=self.ids.new(),
            kind=self.program.kind,
            input=input,
            start_at=start_at,
            parent=parent,
        )
        self._record(start(self.execution, event, self.now, self.ids, advance=True))

    def apply(self, command: Command) -> Turn:
        turn = decide(self.execution, command, self.now, self.ids)
        self._record(turn)
        return turn

    def signal(self, kind: SignalKind, name: str = "", payload: Any = None, **more: Any) -> Turn:
        self.inbox_seq += 1
        return self.apply(Signal(inbox_seq=self.inbox_seq, kind=kind, name=name, payload=payload, by="tester", **more))

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.apply(Advance())

    def running(self) -> list[str]:
        return [task.task_id for task in self.execution.tasks.values() if task.phase is Phase.RUNNING]

    def succeed(self, task_id: str, output: Any = None, **more: Any) -> Turn:
        task = self.execution.tasks[task_id]
        return self.apply(TaskSucceeded(task_id=task_id, attempt=task.attempt, output=output, **more))

    def err(self, task_id: str, code: str = "BOOM", *, retryable: bool = False) -> Turn:
        task = self.execution.tasks[task_id]
        error = Failure(code=code, message="it broke", retryable=retryable)
        return self.apply(TaskErred(task_id=task_id, attempt=task.attempt, error=error))

    def lose(self, task_id: str, *, crashed: bool = False) -> Turn:
        task = self.execution.tasks[task_id]
        turn = self.apply(AttemptLost(task_id=task_id, attempt=task.attempt, crashed=crashed))
        if turn.lost:
            self.lost[task_id] = turn.lost
        return turn

    def miss(self, task_id: str, *, has_begun: bool = True) -> Turn:
        """Lose an attempt because something that it needs is away."""
        task = self.execution.tasks[task_id]
        error = Failure(code="AWAY", message="it is away", retryable=True)
        return self.apply(AttemptLost(task_id=task_id, attempt=task.attempt, error=error, has_begun=has_begun))

    def seeking(self) -> list[Seeking]:
        """What only lacks a place."""
        return self.program.seeking(self.execution, self.now, self.lost)

    def place(self, found: Seeking, worker: str = "local-1", **more: Any) -> Turn:
        """Give it one."""
        self.lost.pop(found.task_id, None)
        placement = Placement(worker=worker, **more)
        return self.apply(
            TaskPlaced(task_id=found.task_id, attempt=found.attempt, placement=placement, replaces=found.replaces)
        )

    def decide_approval(self, task_id: str, status: str = "approved", **more: Any) -> Turn:
        task = self.execution.tasks[task_id]
        payload = {"approval_id": str(task.approval_id), "task_id": task_id, "status": status, **more}
        return self.signal(SignalKind.DECISION, payload=payload)

    def run(self, outcome: Callable[[str, Any], Any] | None = None, *, limit: int = 5_000) -> Execution:
        """Finish everything that can finish by itself: tasks succeed, timers fire, approvals are approved."""
        for _ in range(limit):
            if self.execution.ended is not None:
                return self.execution
            seeking = self.seeking()
            if seeking:
                self.place(seeking[0])
                continue
            running = self.running()
            if running:
                task = self.execution.tasks[running[0]]
                result = outcome(task.task_id, task.input) if outcome else _echo(task.input)
                self.succeed(task.task_id, result)
                continue
            pending = [task for task in self.execution.tasks.values() if task.waits_for == "approval"]
            if pending:
                self.decide_approval(pending[0].task_id)
                continue
            wake_at = self.execution.next_wake()
            if wake_at is None:
                return self.execution
            self.now = max(self.now, wake_at)
            self.apply(Advance())
        raise AssertionError(f"not at rest after {limit} steps")

    def events(self) -> list[Event]:
        return [record.event for record in self.log]

    def types(self) -> list[str]:
        return [record.event.type for record in self.log]

    def of(self, kind: type[Event]) -> list[Any]:
        return [record.event for record in self.log if type(record.event) is kind]

    def approval(self) -> ApprovalRequested:
        found: ApprovalRequested = self.of(ApprovalRequested)[-1]
        return found

    def check_fold(self) -> None:
        """The fold of the stored log is the execution in memory."""
        again = self.replay(len(self.log))
        assert again.execution.fingerprint() == self.execution.fingerprint()

    def replay(self, length: int) -> Driver:
        """Another driver that read the first ``length`` events back from their stored form."""
        other = object.__new__(Driver)
        other.__dict__.update(self.__dict__)
        other.log = [stored(record) for record in self.log[:length]]
        other.cuts = [cut for cut in self.cuts if cut <= length]
        other.lost = {}
        other.execution = fold(Execution(self.execution_id, self.program), other.log)
        other.now = other.log[-1].at
        other.ids = CountingIds()
        other.ids._count = 1_000_000 + length  # ids of the second life differ from those of the first
        return other

    def take_over(self) -> None:
        """What a runner does with an execution it claimed: lost attempts are replaced, due timers fire."""
        for task_id in self.running():
            if task_id in self.execution.tasks:
                self.lose(task_id)
        self.apply(Advance())

    def _record(self, turn: Turn) -> None:
        seq = self.execution.seq - len(turn.events)
        for event in turn.events:
            seq += 1
            self.log.append(Recorded(seq, self.now, "0" * 32, event))
        self.cuts.append(len(self.log))


def stored(record: Recorded) -> Recorded:
    """The event as it comes back from the database."""
    return Recorded(record.seq, record.at, record.trace_id, decode_event(record.event.type, encode_data(record.event)))


def _echo(parameters: Any) -> Any:
    return parameters.get("mapping", parameters) if isinstance(parameters, dict) else parameters


def plain(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))
