"""The executor of child processes: who runs where, and what waits."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from uuid import UUID

from interlock.backends.executor.logs import log
from interlock.backends.executor.pool.cell import Cell, OpenCell
from interlock.backends.executor.pool.job import Job
from interlock.backends.executor.pool.seat import Seat
from interlock.backends.executor.results import Away, give_up
from interlock.backends.executor.services import Host
from interlock.core.events import ArtifactRef
from interlock.ports.blobs import Blobs
from interlock.ports.egress import Egress
from interlock.ports.executor import Report, Result
from interlock.ports.node import Attempt
from interlock.ports.task_log import Stream


class PoolExecutor:
    """Satisfies ``ports/executor.Executor``: runs each attempt in a child process, at most ``size`` at a time.

    ``registry`` is the dotted path (``package.module:callable``) by which a child gets its node types. Children
    start when they are needed, stay, and are replaced when their memory grows from attempt to attempt, or after
    ``recycle_after`` of them: starting one costs as much as a thousand small attempts. ``environment`` is all that a
    child sees of the server's environment; by default it is all of it. ``cells`` makes what a child is started in, if
    that is more than this; one that has nothing to do for ``idle_seconds`` ends. Attempts beyond ``size`` wait in
    order; the line is not bounded here, because runners bound what they own.

    ``spares`` children beside these are kept ready, from the first attempt or ``prepare`` on: each has run nothing yet,
    and is replaced as soon as it gets an attempt.
    """

    name = "process"

    def __init__(
        self,
        registry: str,
        egress: Egress,
        blobs: Blobs,
        *,
        size: int | None = None,
        recycle_after: int = 100_000,
        environment: Mapping[str, str] | None = None,
        cells: Callable[[], Cell] | None = None,
        idle_seconds: float | None = None,
        spares: int = 0,
    ) -> None:
        self._spares = spares
        self._keeps_spares = False
        self._cells = cells or (lambda: OpenCell(registry, environment))
        self._idle_seconds = idle_seconds
        self._egress = egress
        self._blobs = blobs
        self._size = size or max(2, os.cpu_count() or 1)
        self._recycle_after = recycle_after
        self._host: Host | None = None
        self._is_stopped = False
        self._jobs: dict[tuple[UUID, str], Job] = {}
        self._line: deque[Job] = deque()
        self._seats: dict[Seat, asyncio.Task[None]] = {}
        self._idle: dict[Seat, None] = {}  # those that can take a job; one that is leaving may stand here a while

    async def start(self) -> None:
        """Must be awaited on the loop that calls the other methods. Starts no child yet."""
        self._host = Host(self._egress, self._blobs)

    def prepare(self) -> None:
        """Attempts will come soon: have spare children ready for them. Does nothing before ``start``."""
        if self._host is None or self._is_stopped:
            return
        self._keeps_spares = True
        self._make_room()

    @property
    def waiting(self) -> int:
        """How many attempts wait for a child."""
        return len(self._line)

    @property
    def running(self) -> int:
        """How many attempts have a child."""
        return len(self._jobs) - len(self._line)

    @property
    def children(self) -> int:
        """How many children there are, those that start or end included."""
        return len(self._seats)

    def submit(
        self,
        attempt: Attempt,
        report: Report,
        *,
        key: Hashable = None,
        again: Attempt | None = None,
        on_stored: Callable[[ArtifactRef], None] | None = None,
        on_printed: Callable[[Stream, str], None] | None = None,
        spent: float = 0.0,
    ) -> None:
        """Run an attempt as soon as a child is free. After ``stop`` nothing runs or reports.

        A child takes only attempts of one ``key`` (without one: of the same graphics devices, since libraries do not
        change them later), and from the second on gets them as ``again`` says. ``on_stored``
        hears of each artifact, ``on_printed`` of what is printed. ``spent`` seconds of its time are over already.
        """
        self.cancel(attempt.execution_id, attempt.task_id)
        if self._is_stopped:
            return
        if self._host is None:
            raise RuntimeError("the process executor was not started")
        self._keeps_spares = True
        key = devices_of(attempt) if key is None else key
        job = Job(self._host, attempt, report, key, again, on_stored, on_printed, spent)
        self._jobs[attempt.execution_id, attempt.task_id] = job
        self._line.append(job)
        self._place()

    def cancel(self, execution_id: UUID, task_id: str) -> None:
        """End the attempt if it waits or runs here; its child is killed with all it started."""
        job = self._jobs.pop((execution_id, task_id), None)
        if job is None:
            return
        job.drop()
        if job.seat is None:
            self._line.remove(job)
        else:
            job.seat.leave()

    async def settle(self, limit: float) -> None:
        """Return when the children that are being killed now are dead, or after ``limit`` seconds."""
        leaving = [task for seat, task in self._seats.items() if seat.is_leaving]
        if leaving:
            await asyncio.wait(leaving, timeout=limit)

    async def stop(self, grace: float) -> None:
        """Cancel everything and kill all children."""
        self._is_stopped = True
        for key in list(self._jobs):
            self.cancel(*key)
        for seat in self._seats:
            seat.leave()
        if self._seats:
            await asyncio.wait(self._seats.values(), timeout=grace)
        for seat in self._seats:
            seat.kill_guard()

    def _place(self) -> None:
        """Give the line's head to free children while there are any, and see to it that there will be."""
        while self._line:
            seat = self._find_seat(self._line[0])
            if seat is None or (seat.is_fresh and not self._make_way()):
                break
            del self._idle[seat]
            seat.give(self._line.popleft())
        self._make_room()

    def _make_way(self) -> bool:
        """Whether one more child may be put to work; an idle one gives way to it."""
        used = [seat for seat in self._seats if not seat.is_fresh and not seat.is_leaving]
        if len(used) < self._size:
            return True
        idle = next((seat for seat in used if seat.is_idle), None)
        if idle is not None:
            idle.leave()
        return idle is not None

    def _find_seat(self, job: Job) -> Seat | None:
        """A child that knows the key, else one that has run nothing yet."""
        idle = [seat for seat in self._idle if seat.is_idle]
        fresh = next((seat for seat in idle if seat.is_fresh), None)
        if job.attempt.isolated:
            return fresh
        return next((seat for seat in idle if not seat.is_fresh and seat.key == job.key), fresh)

    def _make_room(self) -> None:
        """One child is on its way for everybody in the line, as far as the size allows, and the spare ones are.

        Idle children are here only if they cannot take the head of the line, which needs another one: they give way.
        """
        if not self._idle and len(self._seats) >= self._size + self._spares:
            return
        idle = [seat for seat in self._idle if seat.is_idle and not seat.is_fresh]
        leaving = sum(1 for seat in self._seats if seat.is_leaving)
        fresh = sum(1 for seat in self._seats if seat.is_fresh and not seat.is_leaving)
        busy = len(self._seats) - len(idle) - leaving - fresh
        needed = max(0, min(len(self._line), self._size - busy))
        spares = self._spares if self._keeps_spares else 0
        opened = max(0, min(needed + spares - fresh, self._size + self._spares - len(self._seats)))
        for _ in range(opened):
            self._open_seat()
        for seat in idle[: max(0, needed - fresh - opened - leaving)]:
            seat.leave()

    def _open_seat(self) -> None:
        seat = Seat(
            self._cells(),
            recycle_after=self._recycle_after,
            idle_seconds=self._idle_seconds,
            is_kept=self._spares > 0,
            on_end=self._end,
            on_idle=self._take_back,
        )
        task = asyncio.get_running_loop().create_task(seat.live(), name="child")
        self._seats[seat] = task
        task.add_done_callback(lambda _: self._close_seat(seat))

    def _take_back(self, seat: Seat) -> None:
        self._idle[seat] = None
        self._place()

    def _close_seat(self, seat: Seat) -> None:
        task = self._seats.pop(seat)
        self._idle.pop(seat, None)
        if not task.cancelled() and task.exception() is not None:
            log.error("executor.seat_failed", exc_info=task.exception())
        if self._is_stopped:
            return
        if seat.is_fresh:
            self._keeps_spares = False  # until the next attempt: one that cannot start is not started for ever
        if not seat.is_ready and self._line:
            self._fail_next(seat.start_error or "it died before it was ready")
        self._place()

    def _fail_next(self, reason: str) -> None:
        """Each child that cannot start costs the head of the line its attempt, so that whoever waits hears why."""
        log.error("executor.child_cannot_start", reason=reason)
        job = self._line.popleft()
        message = f"No process could be started for the task: {reason}"
        self._end(job, give_up(job.attempt, Away("CHILD_CANNOT_START", message), has_begun=False))

    def _end(self, job: Job, result: Result) -> None:
        if job.seat is not None and job.seat.is_idle:
            self._idle[job.seat] = None  # whoever hears of the end may have something for it at once
        key = (job.attempt.execution_id, job.attempt.task_id)
        if self._jobs.get(key) is job:
            del self._jobs[key]
            job.tell(result)
            job.drop()


def devices_of(attempt: Attempt) -> Hashable:
    """The graphics devices that were set aside for it; None if there are none."""
    return (attempt.placement.gpus if attempt.placement is not None else ()) or None
