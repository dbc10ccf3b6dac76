"""Places for tasks with resources: asked for once a task could begin, given back once its attempt is over.

Each process has its share of the machines. What is asked for and granted is memory only: after a crash the attempts
are lost, and their tasks ask again.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from uuid import UUID

import structlog

from interlock.core.commands import AttemptLost, TaskPlaced
from interlock.core.engine.program import Program, Seeking
from interlock.core.errors import ErrorKind, InterlockError, rule_broken, unavailable
from interlock.core.execution import Phase, WaitingReason
from interlock.core.placing.admission import Admission, Grant
from interlock.core.placing.amounts import given
from interlock.core.placing.over_ask import Policy, stricter
from interlock.core.resources import Placement, Resources
from interlock.core.worker import Capacity
from interlock.kit.clock import Clock
from interlock.kit.ids import Ids, RandomIds
from interlock.ports.telemetry import Telemetry
from interlock.ports.workers import LOCAL_WORKER
from interlock.runtime.batches import Batches, Candidate
from interlock.runtime.owned import Owned

WAITING_CAP = 10_000
"""Tasks of one tenant that wait for a place in one process."""

Key = tuple[UUID, str]
log = structlog.get_logger("placing")


class _Book:
    """What one execution asked for, and which attempts of it hold a place, by task id."""

    __slots__ = ("asked", "held")

    def __init__(self) -> None:
        self.asked: dict[str, Seeking] = {}
        self.held: dict[str, int] = {}


class Placing:
    """Seeks places for the executions of one process, and tells them when they have one."""

    def __init__(
        self,
        clock: Clock,
        telemetry: Telemetry,
        *,
        local: Capacity,
        whole: Capacity | None = None,
        policy: Policy = "queue",
        waiting_cap: int = WAITING_CAP,
        runners: int = 1,
        ids: Ids | None = None,
    ) -> None:
        self._clock = clock
        self._telemetry = telemetry
        self._policy = policy
        self.waiting_cap = waiting_cap
        self.runners = runners  # the processes among which the cap is divided
        self._admission = Admission()
        self._local, self._whole = local, whole
        self._admission.set_machine(LOCAL_WORKER, local, whole=whole)
        self._batches = Batches(clock, ids or RandomIds(), self._admission, self._begin_soon)
        self._books: dict[UUID, _Book] = {}  # of executions that seek or hold something
        self._unsettled: dict[UUID, Owned] = {}  # asked since the last round
        self._waiting: dict[UUID, Owned] = {}
        self._depths: Counter[str] = Counter()  # tasks that wait, by tenant
        self._held = 0  # tasks that have a place
        self._is_due = False
        self.placed: Callable[[UUID, TaskPlaced], None] = lambda execution_id, command: None
        self.lost: Callable[[UUID, AttemptLost], None] = lambda execution_id, command: None
        self.told: Callable[[Owned], None] = lambda owned: None
        self.measure()

    # Executions --------------------------------------------------------------------------------------------

    def seek(self, owned: Owned) -> None:
        """Ask for what the execution lacks now, withdraw what it wants no more, give back what is over."""
        execution = owned.execution
        execution_id = execution.execution_id
        if owned.lost:
            _forget_replaced(owned)
        wanted = {found.task_id: found for found in execution.program.seeking(execution, self._clock.now(), owned.lost)}
        book = self._books.get(execution_id)
        if book is None:
            if not wanted:
                return
            book = self._books[execution_id] = _Book()
        for task_id in [task_id for task_id, attempt in book.held.items() if not execution.runs(task_id, attempt)]:
            self._give_back(execution_id, book, task_id)
        if book.asked != wanted:
            for task_id in [task_id for task_id, found in book.asked.items() if wanted.get(task_id) != found]:
                self._withdraw(execution_id, book, task_id)
            for found in wanted.values():
                if found.task_id not in book.asked and found.task_id not in book.held:
                    self._ask(owned, book, found)
        self._batches.look()
        self._note(owned, book)

    def _ask(self, owned: Owned, book: _Book, found: Seeking) -> None:
        execution_id, program = owned.execution.execution_id, owned.execution.program
        resources = program.resources(found.node_id)
        if resources is None:
            return
        key = execution_id, found.task_id
        shared, over_ask = program.batch(found.node_id), self._policy_of(program)
        if shared is not None:
            self._batches.add(key, Candidate(owned, resources, over_ask, *shared))
        else:
            is_lost = bool(found.replaces)
            self._admission.ask(key, owned.tenant_id, resources, over_ask, owned.priority, is_lost=is_lost)
        book.asked[found.task_id] = found
        self._unsettled[execution_id] = owned
        self._begin_soon()

    def hold(self, owned: Owned, task_id: str) -> None:
        """The attempt of a task goes on where another process had placed it."""
        execution_id, task = owned.execution.execution_id, owned.execution.tasks[task_id]
        asked = owned.execution.program.resources(task.node_id)
        if task.placement is None or asked is None:
            return
        self._admission.hold((execution_id, task_id), given(asked, task.placement), task.placement)
        held = self._books.setdefault(execution_id, _Book()).held
        self._held += task_id not in held
        held[task_id] = task.attempt
        self._begin_soon()

    def release(self, owned: Owned, task_id: str) -> None:
        """The attempt of a task is over, whatever its end."""
        book = self._books.get(owned.execution.execution_id)
        if book is not None:
            self._give_back(owned.execution.execution_id, book, task_id)

    def leave(self, owned: Owned) -> None:
        """The execution is over, or not here any more."""
        execution_id = owned.execution.execution_id
        book = self._books.get(execution_id)
        if book is not None:
            for task_id in list(book.asked):
                self._withdraw(execution_id, book, task_id)
            for task_id in list(book.held):
                self._give_back(execution_id, book, task_id)
            self._note(owned, book)
        self._unsettled.pop(execution_id, None)
        owned.lost = {}

    def _withdraw(self, execution_id: UUID, book: _Book, task_id: str) -> None:
        del book.asked[task_id]
        key = execution_id, task_id
        if not self._batches.withdraw(key):
            self._admission.withdraw(key)
        self._begin_soon()  # somebody else's turn, and other figures

    def _give_back(self, execution_id: UUID, book: _Book, task_id: str) -> None:
        if book.held.pop(task_id, None) is not None:
            self._held -= 1
            key = execution_id, task_id
            if not self._batches.release(key):
                self._admission.release(key)
            self._begin_soon()

    def _note(self, owned: Owned, book: _Book) -> None:
        """What keeps the execution from moving, if it waits for a place and nothing else runs."""
        execution_id = owned.execution.execution_id
        self._count(owned, max(len(book.asked), len(owned.execution.ready)) if book.asked else 0)
        if book.asked:
            self._waiting[execution_id] = owned
            has_place = any(self._has_place_for((execution_id, task_id)) for task_id in book.asked)
            owned.shortage = WaitingReason.RESOURCES if has_place else WaitingReason.NO_WORKER
            return
        owned.shortage = None
        self._waiting.pop(execution_id, None)
        if not book.held:
            del self._books[execution_id]

    def _has_place_for(self, key: Key) -> bool:
        found = self._batches.has_place_for(key)
        return self._admission.has_place_for(key) if found is None else found

    def _count(self, owned: Owned, waiting: int) -> None:
        """So many tasks of it wait, whether they have asked already or will when there is more room."""
        self._deepen(owned.tenant_id, waiting - owned.waiting_places)
        owned.waiting_places = waiting

    def _deepen(self, tenant_id: str, more: int) -> None:
        self._depths[tenant_id] += more
        if not self._depths[tenant_id]:
            del self._depths[tenant_id]

    # Starts ------------------------------------------------------------------------------------------------

    def refusal(self, tenant_id: str, program: Program) -> InterlockError | None:
        """What a start of this program would raise now: its tenant has too much waiting, or it asks for too much."""
        waiting, cap = self._depths[tenant_id], math.ceil(self.waiting_cap / self.runners)
        if waiting >= cap:
            return _full(waiting, cap)
        if self._policy_of(program) == "reject":
            for node_id, resources in program.placed().items():
                lacking = self._admission.lacking(resources)
                if lacking and not self.takes_tasks(LOCAL_WORKER):  # what this machine has counts again soon
                    return unavailable("Executor not ready", code="EXECUTOR_UNAVAILABLE")
                if lacking:
                    return _too_much(node_id, lacking)
        return None

    @contextmanager
    def coming(self, owned: Owned) -> Iterator[None]:
        """Count the tasks of a start that is being committed, so that many starts at once do not pass the cap."""
        tasks = len(owned.execution.ready) if owned.execution.program.has_places else 0
        self._deepen(owned.tenant_id, tasks)
        try:
            yield
        finally:
            self._deepen(owned.tenant_id, -tasks)

    def _policy_of(self, program: Program) -> Policy:
        return stricter(self._policy, program.over_ask)

    # Machines ----------------------------------------------------------------------------------------------

    def set_worker(
        self, worker_id: str, capacity: Capacity, *, address: str = "", whole: Capacity | None = None
    ) -> None:
        """A machine on which an executor of this process can run tasks.

        ``capacity`` is the part of this process, ``whole`` what the machine has if that is more.
        """
        self._admission.set_machine(worker_id, capacity, address=address, whole=whole)
        self._look_anew()

    def set_local(self, *, is_open: bool) -> None:
        """Whether the server's own machine gets new tasks; so it does until somebody says otherwise."""
        if is_open == self.takes_tasks(LOCAL_WORKER):
            return
        if is_open:
            self.set_worker(LOCAL_WORKER, self._local, whole=self._whole)
        else:
            self.drain_worker(LOCAL_WORKER)

    def drain_worker(self, worker_id: str) -> None:
        """It gets nothing new."""
        if worker_id in self._admission.machines:
            self._admission.drain(worker_id)
            self._look_anew()

    def lose_worker(self, worker_id: str) -> int:
        """Nothing is heard of it any more: its attempts are lost, and their tasks seek another place. How many."""
        keys = [key for found in self._admission.remove_machine(worker_id) for key in self._batches.held(found)]
        for execution_id, task_id in keys:
            book = self._books.get(execution_id)
            attempt = book.held.get(task_id) if book is not None else None
            if attempt is not None:  # else it was given back when another one of its execution was lost
                self.lost(execution_id, AttemptLost(task_id=task_id, attempt=attempt))
        self._look_anew()
        return len(keys)

    def standing_of(self, worker_id: str) -> tuple[Resources, int]:
        """What of a machine is free in this process, and how many tasks it has there."""
        machine = self._admission.machines.get(worker_id)
        free = machine.free if machine is not None else Resources(cpu=0.0)
        return free, self._admission.running_on()[worker_id]

    def capacity_of(self, worker_id: str) -> Capacity | None:
        """What tasks of this process share on a machine; None if none can be placed there."""
        machine = self._admission.machines.get(worker_id)
        return machine.capacity if machine is not None else None

    def has_worker_for(self, resources: Resources, over_ask: Policy | None) -> bool:
        """Whether a task of a graph with this rule could ever be placed on the machines that are known now."""
        return self._admission.has_place_with(resources, stricter(self._policy, over_ask))

    def takes_tasks(self, worker_id: str) -> bool:
        """Whether a machine gets new tasks."""
        machine = self._admission.machines.get(worker_id)
        return machine is not None and machine.is_open

    def _look_anew(self) -> None:
        self._unsettled.update(self._waiting)
        self._begin_soon()

    # Granting ----------------------------------------------------------------------------------------------

    def _begin_soon(self) -> None:
        """Whatever is asked and given back within this turn of the loop is weighed together."""
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._grant)

    def _grant(self) -> None:
        self._is_due = False
        granted = [each for grant in self._admission.grants() for each in self._granted(grant)]
        for execution_id, command in granted:
            book = self._books.get(execution_id)
            if book is not None and book.held.get(command.task_id) == command.attempt:  # not left meanwhile
                self.placed(execution_id, command)
        unsettled, self._unsettled = self._unsettled, {}
        self._tell(unsettled.values())
        self.measure()

    def _granted(self, grant: Grant) -> list[tuple[UUID, TaskPlaced]]:
        members = self._batches.members(grant.key)
        if members is None:
            return [self._place(grant.key, grant.placement)]  # type: ignore[arg-type]  # only tasks ask by themselves
        placement = self._batches.placement_of(grant.key, grant.placement)
        return [self._place(key, placement) for key in members]

    def _place(self, key: Key, placement: Placement) -> tuple[UUID, TaskPlaced]:
        book = self._books[key[0]]
        found = book.asked.pop(key[1])
        self._held += key[1] not in book.held
        book.held[key[1]] = found.attempt
        if placement.clamped:
            log.warning("placing.clamped", execution_id=str(key[0]), task_id=key[1], cut=placement.clamped)
        return key[0], TaskPlaced(task_id=key[1], attempt=found.attempt, placement=placement, replaces=found.replaces)

    def _tell(self, asked: Iterable[Owned]) -> None:
        for owned in asked:
            book = self._books.get(owned.execution.execution_id)
            if book is not None and not owned.is_forgotten:
                self._note(owned, book)
                if owned.shortage is not None:
                    self.told(owned)

    def measure(self) -> None:
        """Tell the figures."""
        resources, no_worker = self._admission.waiting()
        self._telemetry.tasks_waiting(WaitingReason.RESOURCES, resources)
        self._telemetry.tasks_waiting(WaitingReason.NO_WORKER, no_worker)
        workers = sum(machine.is_open for machine in self._admission.machines.values())
        self._telemetry.tasks_placed(self._held, workers)
        for worker_id, machine in self._admission.machines.items():
            self._telemetry.worker_has(worker_id, machine.capacity.cpu, machine.free.cpu)


def _forget_replaced(owned: Owned) -> None:
    """Lost attempts whose task is over or has another attempt need no place any more."""
    tasks = owned.execution.tasks
    owned.lost = {
        task_id: word
        for task_id, word in owned.lost.items()
        if task_id in tasks and tasks[task_id].phase is Phase.RUNNING
    }


def _full(waiting: int, capacity: int) -> InterlockError:
    message = "Task queue is full"
    details = {
        "message": message,
        "queue_name": "tasks",
        "current_size": waiting,
        "capacity": capacity,
        "retry_after": 1,
    }
    return InterlockError(ErrorKind.LIMITED, "QUEUE_FULL", message, details=details, retryable=True, retry_after=1.0)


def _too_much(node_id: str, lacking: dict[str, tuple[float, float]]) -> InterlockError:
    parts = ", ".join(f"{name} {asked:g} (there is {most:g})" for name, (asked, most) in lacking.items())
    return rule_broken(
        "RESOURCES_UNAVAILABLE",
        f"Node '{node_id}' asks for more than any worker has: {parts}",
        node_id=node_id,
        lacking={name: list(pair) for name, pair in lacking.items()},
    )
