"""The engine in this process: wires runner, journal, inboxes and rounds, and answers ``ports/engine``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

import msgspec
import structlog

from interlock.core.approval import Approval, Decision
from interlock.core.errors import InterlockError
from interlock.core.ids import ApprovalId, ExecutionId
from interlock.core.node_type import NodeType
from interlock.core.worker import Capacity
from interlock.kit.clock import SystemClock
from interlock.kit.ids import Ids
from interlock.kit.turn import give_up
from interlock.ports.blobs import Blobs
from interlock.ports.bus import Bus
from interlock.ports.engine import SendSignal, SignalOutcome, Standing, StartExecution
from interlock.ports.executor import Executor
from interlock.ports.ledger import Ledger, NodeTotal
from interlock.ports.telemetry import Telemetry
from interlock.ports.workers import Machines, Reaches, WorkerBooks
from interlock.runtime.claiming import Claiming
from interlock.runtime.faults import guarded
from interlock.runtime.following import no_machines
from interlock.runtime.inbox import Inboxes
from interlock.runtime.journal import Journal
from interlock.runtime.liveness import Liveness
from interlock.runtime.node_totals import NodeTotals
from interlock.runtime.placing import Placing
from interlock.runtime.programs import Programs
from interlock.runtime.reading import Reading
from interlock.runtime.rest import Rest
from interlock.runtime.room import Room
from interlock.runtime.runner import Runner
from interlock.runtime.signalling import Signalling
from interlock.runtime.standing import standing_of
from interlock.runtime.starting import Starting
from interlock.runtime.upkeep import Upkeep
from interlock.runtime.workforce import Workforce

SLOTS = 2_000
TENANT_CAP = 1_000
TENANT_QUEUE = 10_000
CAPACITY = Capacity(cpu=4.0, memory=4_096.0)
"""What tasks with resources share unless somebody says what the machine has."""
log = structlog.get_logger("engine")


class LocalEngine:
    """One runner with everything around it."""

    def __init__(
        self,
        *,
        name: str,
        ledger: Ledger,
        blobs: Blobs,
        bus: Bus,
        executors: Mapping[str, Executor],
        catalogue: Mapping[str, NodeType],
        clock: SystemClock,
        ids: Ids,
        telemetry: Telemetry,
        slots: int = SLOTS,
        tenant_cap: int = TENANT_CAP,
        tenant_queue: int = TENANT_QUEUE,
        placing: Placing | None = None,
        books: WorkerBooks | None = None,
        reaches: Reaches | None = None,
        machines: Machines = no_machines,
        replaces_namesakes: bool = False,
    ) -> None:
        self._name = name
        self._ledger = ledger
        self._bus = bus
        self._executors = executors
        self._clock = clock
        self._telemetry = telemetry
        self._replaces_namesakes = replaces_namesakes
        self._programs = Programs(catalogue)
        self._node_types = catalogue.keys()
        self._journal = Journal(ledger, clock, telemetry, self._fenced, self._woken, self._spoiled)
        self.runner = Runner(
            journal=self._journal,
            blobs=blobs,
            bus=bus,
            executors=executors,
            placing=placing or Placing(clock, telemetry, local=CAPACITY),
            clock=clock,
            ids=ids,
            telemetry=telemetry,
        )
        self._reading = Reading(ledger, blobs, self._programs, self.runner)
        self._inboxes = Inboxes(ledger, blobs, self.runner)
        self._liveness = Liveness(ledger.lease(), clock, telemetry, on_reaped=self._reaped, on_clock=clock.align)
        self.room = Room(self.runner, self._reading, slots=slots, tenant_cap=tenant_cap, queue_cap=tenant_queue)
        self._claiming = Claiming(
            ledger=ledger,
            runner=self.runner,
            reading=self._reading,
            inboxes=self._inboxes,
            liveness=self._liveness,
            bus=bus,
            clock=clock,
            telemetry=telemetry,
            room=self.room,
        )
        self._rest = Rest(ledger, blobs, bus, clock)
        self._starting = Starting(
            ledger=ledger,
            journal=self._journal,
            runner=self.runner,
            reading=self._reading,
            room=self.room,
            programs=self._programs,
            bus=bus,
            clock=clock,
            ids=ids,
            telemetry=telemetry,
        )
        self._signalling = Signalling(
            ledger=ledger,
            runner=self.runner,
            reading=self._reading,
            inboxes=self._inboxes,
            claiming=self._claiming,
            room=self.room,
            rest=self._rest,
            bus=bus,
            clock=clock,
        )
        self._upkeep = Upkeep(ledger)
        self._workforce = (
            Workforce(books, self.runner.placing, reaches, lambda: self.room.turn, machines)
            if books is not None and reaches is not None
            else None
        )
        self._node_totals = NodeTotals(ledger)
        self.runner.may_release = self._liveness.is_sure
        self.runner.attempts.count_node = self._node_totals.count
        self.runner.read_inbox = self._inboxes.read
        self.runner.take_over = self._reading.take_over
        self.runner.freed = self._claiming.freed
        self.runner.timers.expire = self._signalling.expire
        self._runner_id = 0
        self._totals: dict[str, int] = {}
        self._totals_of = float("-inf")  # when they were asked for
        self._counting = asyncio.Lock()
        self._registering: asyncio.Task[None] | None = None
        bus.on_inbox(self._signalling.hinted)

    @property
    def runner_id(self) -> int:
        """The id this process is registered under; 0 while it is not."""
        return self._runner_id

    # Life --------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Register a runner and begin to work."""
        for executor in self._executors.values():
            await executor.start()
        await self._register()
        self._upkeep.start()
        if self._workforce is not None:
            self._workforce.start()

    def drain(self) -> None:
        """From now on new executions are refused and none is claimed; what runs goes on."""
        self._starting.is_draining = self._claiming.is_draining = True

    async def close(self, grace: float = 20.0) -> None:
        """Stop taking work, write what was decided, hand everything over to others, within ``grace`` seconds."""
        self.drain()
        await self._claiming.stop()
        await self._upkeep.stop()
        if self._workforce is not None:
            await self._workforce.stop()
        for executor in self._executors.values():
            await executor.stop(grace / 2)
        await self._journal.stop()
        await self._node_totals.stop()
        await self._liveness.stop()
        self._signalling.stop()
        self.runner.forget_all()
        if self._runner_id and not self._journal.is_fenced:
            try:
                await self._ledger.reap(self._runner_id, None)
            except (OSError, RuntimeError, TimeoutError) as error:
                log.warning("engine.farewell_failed", reason=str(error)[:200])

    async def _register(self) -> None:
        asked = self._clock.monotonic()
        runner_id, now = await self._ledger.register(self._name)
        self._clock.align(now + timedelta(seconds=(self._clock.monotonic() - asked) / 2))
        self._runner_id = self._reading.runner_id = self._signalling.runner_id = runner_id
        if self._replaces_namesakes:
            for predecessor in await self._ledger.namesakes(self._name, runner_id):
                freed = await self._ledger.reap(predecessor, None)
                log.info("engine.predecessor_reaped", runner_id=predecessor, executions=len(freed))
        self._liveness.start(runner_id)
        self._journal.start(runner_id)
        self._claiming.start(runner_id)

    def _woken(self, execution_id: UUID, owner: int | None) -> None:
        self._signalling.woken(execution_id, owner)

    def _spoiled(self, execution_id: UUID) -> None:
        self.runner.spoil(execution_id)

    def _reaped(self, runner_id: int) -> None:
        if runner_id == self._runner_id:  # and not one of before
            self._fenced()

    def _fenced(self) -> None:
        """This runner was reaped, or is given up: forget everything and register anew, without exiting."""
        if self._registering is not None and not self._registering.done():
            return
        former = self._runner_id
        log.error("engine.fenced", runner_id=former)
        self._runner_id = self._reading.runner_id = self._signalling.runner_id = 0
        self._journal.fence()
        self.runner.forget_all()
        self._registering = asyncio.create_task(self._register_again(former))

    async def _register_again(self, former: int) -> None:
        delay = 0.1
        while True:
            try:
                await self._ledger.reap(former, None)  # what it owned may go on at once, here or elsewhere
                await self._register()
            except Exception as error:  # noqa: BLE001 - the database may be away in many ways
                log.warning("engine.registering_failed", reason=str(error)[:200])
                await asyncio.sleep(delay)
                delay = min(2.0, delay * 2)
            else:
                return

    def is_ready(self) -> dict[str, bool]:
        return {
            "journal": self._journal.is_connected and not self._journal.is_fenced,
            "lease": self._runner_id != 0 and self._liveness.is_fresh,
            "accepting": not self._starting.is_draining,
        }

    async def totals(self) -> dict[str, int]:
        asked = self._clock.monotonic()
        async with self._counting:
            if self._totals_of < asked:  # else somebody who asked later has just got them
                self._totals_of = self._clock.monotonic()
                self._totals = await guarded(self._ledger.totals())
            return self._totals

    async def node_totals(self, tenant_id: str | None) -> list[NodeTotal]:
        await guarded(self._node_totals.write())
        return await guarded(self._ledger.node_totals(tenant_id, self._node_types))

    # Starting ----------------------------------------------------------------------------------------------

    async def start(self, request: StartExecution) -> Standing:
        until = self._clock.monotonic() + request.wait
        started = await self._starting.start(request)
        execution = started.owned.execution
        if started.first is not None:
            first = await self.standing(
                ExecutionId(started.first.execution_id), max(0.0, until - self._clock.monotonic())
            )
            return msgspec.structs.replace(first, is_replay=True)
        if request.wait <= 0 or started.standing.ended_at is not None:
            return started.standing
        give_up()
        if started.rest is not None:
            try:
                await asyncio.wait([started.rest], timeout=max(0.0, until - self._clock.monotonic()))
            finally:
                started.owned.wait_no_more(started.rest)
            if started.rest.done() and started.rest.result() and execution.ended is not None:
                return standing_of(started.owned)
            rested = started.owned.rested
            if started.rest.done() and rested is not None:
                return msgspec.structs.replace(
                    started.standing, status=rested.status, waiting_reason=rested.waiting_reason, flow=rested
                )
            if started.rest.done() and started.rest.result():
                return await self.standing(execution.execution_id, 0)
        return await self.standing(execution.execution_id, max(0.0, until - self._clock.monotonic()))

    def refusal(self, tenant_id: str) -> InterlockError | None:
        return self._starting.refusal(tenant_id)

    async def standing(self, execution_id: ExecutionId, wait: float) -> Standing:
        return await self._rest.standing(execution_id, wait)

    # Signals -----------------------------------------------------------------------------------------------

    async def signal(self, request: SendSignal) -> SignalOutcome:
        return await self._signalling.signal(request)

    async def cancel(self, execution_id: ExecutionId, tenant_id: str, by: str, reason: str, trace_id: str) -> bool:
        return await self._signalling.cancel(execution_id, tenant_id, by, reason, trace_id)

    async def decide(
        self, approval_id: ApprovalId, tenant_id: str, decision: Decision, by: str, trace_id: str
    ) -> Approval:
        return await self._signalling.decide(approval_id, tenant_id, decision, by, trace_id)
