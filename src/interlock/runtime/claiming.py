"""The runner's round: claim what is due, poll what is owned, reap the dead. Hints make it come sooner."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from interlock.core.execution import WaitingReason
from interlock.kit import failpoints
from interlock.kit.clock import Clock
from interlock.ports.bus import Bus
from interlock.ports.ledger import Ledger
from interlock.ports.telemetry import Telemetry
from interlock.runtime.inbox import Inboxes
from interlock.runtime.liveness import LEASE, QUIET_BEFORE_REAP, Liveness
from interlock.runtime.reading import Reading
from interlock.runtime.runner import Runner

ROUND = 1.0
"""Seconds between two rounds when no hint comes."""
CLAIM_BATCH = 200

failpoints.declare("claiming.before_claim", "claiming.after_claim", "claiming.before_reap", "claiming.after_reap")
log = structlog.get_logger("claiming")


class Claiming:
    """Finds work for this runner in the database."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        runner: Runner,
        reading: Reading,
        inboxes: Inboxes,
        liveness: Liveness,
        bus: Bus,
        clock: Clock,
        telemetry: Telemetry,
        slots: int,
        tenant_cap: int,
    ) -> None:
        self._ledger = ledger
        self._runner = runner
        self._reading = reading
        self._inboxes = inboxes
        self._liveness = liveness
        self._bus = bus
        self._clock = clock
        self._telemetry = telemetry
        self._slots = slots
        self._tenant_cap = tenant_cap
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._last_full_round = 0.0
        self.other_loads: dict[str, int] = {}
        self.runner_id = 0
        self.starting = 0  # owned starts on their way to their commit
        self.is_draining = False
        self.may_claim: Callable[[], bool] = lambda: True

    def start(self, runner_id: int) -> None:
        """Begin for a newly registered runner."""
        self.runner_id = runner_id
        self._wake.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="claiming")

    async def stop(self) -> None:
        """End the rounds."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def wake(self) -> None:
        """Something may be due now."""
        self._wake.set()

    def free_slots(self) -> int:
        """How many more executions this runner takes."""
        return self._slots - len(self._runner.owned) - self._reading.pending - self.starting

    def has_room(self, tenant_id: str) -> bool:
        """Whether a start of this tenant may be owned here at once."""
        here = self._runner.tenant_counts.get(tenant_id, 0)
        return self.free_slots() > 0 and here + self.other_loads.get(tenant_id, 0) < self._tenant_cap

    def waiting_reason(self, tenant_id: str) -> WaitingReason:
        """Why a start of this tenant is queued and not owned here."""
        return WaitingReason.SLOT if self.free_slots() <= 0 else WaitingReason.TENANT_CAP

    async def _run(self) -> None:
        while True:
            pause = ROUND
            try:
                pause = await self._round()
            except Exception as error:  # noqa: BLE001 - the database may be away in many ways; the next round asks again
                log.warning("claiming.round_failed", reason=f"{type(error).__name__}: {error}"[:300])
            try:
                async with asyncio.timeout(pause):  # wait_for would lose a cancellation that comes together with a wake
                    await self._wake.wait()
            except TimeoutError:
                continue
            finally:
                self._wake.clear()

    async def _round(self) -> float:
        """One round; how many seconds until something is due."""
        if self.is_draining or not self.may_claim():
            return ROUND
        now = self._clock.monotonic()
        if now - self._last_full_round >= ROUND * 0.9:
            self._last_full_round = now
            await self._look_around()
        claimed = await self._claim()
        if claimed >= CLAIM_BATCH:
            return 0.0
        due, at = await self._ledger.next_due()
        if due is None or self.free_slots() <= 0 or (claimed == 0 and due <= at):  # due, but not for us
            return ROUND
        return min(ROUND, max(0.02, (due - at).total_seconds()))

    async def _claim(self) -> int:
        free = min(self.free_slots(), CLAIM_BATCH)
        if free <= 0:
            return 0
        failpoints.hit("claiming.before_claim")
        begun = self._clock.monotonic()
        claimed = await self._ledger.claim(self.runner_id, free, CLAIM_BATCH, self._tenant_cap)
        if claimed:
            failpoints.hit("claiming.after_claim")
            self._telemetry.claimed(len(claimed), self._clock.monotonic() - begun)
        for found in claimed:
            self._reading.take_over(found.execution_id)
        return len(claimed)

    async def _look_around(self) -> None:
        """The safety net: inboxes of owned executions, the loads of tenants, the other runners."""
        inboxes = await self._ledger.poll_owned(self.runner_id)
        for execution_id, inbox_seq in inboxes.items():
            owned = self._runner.owned.get(execution_id)
            if owned is None:
                self._reading.take_over(execution_id)
            elif owned.folded < inbox_seq:
                self._inboxes.read(owned)
        loads = await self._ledger.tenant_loads()
        here = self._runner.tenant_counts
        self.other_loads = {tenant: count - here.get(tenant, 0) for tenant, count in loads.items()}
        self._bus.set_peers(await self._ledger.count_runners() > 1)
        age, due = await self._ledger.queue_age()
        self._telemetry.gauge("queue_age_seconds", age)
        self._telemetry.gauge("waiting_due", due)
        self._telemetry.gauge("owned", len(self._runner.owned))
        if self._liveness.may_reap():
            await self._reap_the_dead()

    async def _reap_the_dead(self) -> None:
        for dead, silent in await self._ledger.find_dead(self.runner_id, LEASE, QUIET_BEFORE_REAP):
            failpoints.hit("claiming.before_reap")
            freed = await self._ledger.reap(dead, QUIET_BEFORE_REAP)
            failpoints.hit("claiming.after_reap")
            log.warning("claiming.reaped", runner_id=dead, executions=len(freed))
            if freed:
                self._telemetry.recovered(len(freed), silent)
        await self._ledger.adopt_orphans()
