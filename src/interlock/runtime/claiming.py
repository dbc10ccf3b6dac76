"""The runner's round: claim what is due, poll what is owned, reap the dead. Hints make it come sooner."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from interlock.kit import failpoints
from interlock.kit.clock import Clock
from interlock.ports.bus import Bus
from interlock.ports.ledger import Ledger
from interlock.ports.telemetry import Telemetry
from interlock.runtime.inbox import Inboxes
from interlock.runtime.liveness import LEASE, QUIET_BEFORE_REAP, Liveness
from interlock.runtime.reading import Reading
from interlock.runtime.room import CLAIM_BATCH, Room
from interlock.runtime.runner import Runner

ROUND = 1.0
"""Seconds between two rounds when no hint comes."""
BUSY_GAP, FULL_GAP = 0.02, 0.05
"""Seconds between two rounds, whatever hints come, while more is due than there is room for; after one that took
something, and after one that did not. A tenant with thousands of waiting executions must not cost the others much."""

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
        room: Room,
    ) -> None:
        self._ledger = ledger
        self._runner = runner
        self._reading = reading
        self._inboxes = inboxes
        self._liveness = liveness
        self._bus = bus
        self._clock = clock
        self._telemetry = telemetry
        self._room = room
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._last_full_round = 0.0
        self._has_backlog = False  # more is due than this process could take
        self.runner_id = 0
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

    def freed(self) -> None:
        """An execution was let go: there may be room for one that waits."""
        if self._has_backlog:
            self._wake.set()

    async def _run(self) -> None:
        while True:
            pause = ROUND
            try:
                pause = await self._round()
            except Exception as error:  # noqa: BLE001 - the database may be away in many ways; the next round asks again
                log.warning("claiming.round_failed", reason=f"{type(error).__name__}: {error}"[:300])
            await self._rest(pause)

    async def _rest(self, seconds: float) -> None:
        """Until somebody wakes it, at most so long."""
        try:
            async with asyncio.timeout(seconds):  # wait_for may swallow the end of this task
                await self._wake.wait()
        except TimeoutError:
            return
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
        self._has_backlog = due is not None and due <= at  # due, but not for us
        if self._has_backlog:
            await asyncio.sleep(BUSY_GAP if claimed else FULL_GAP)
        if due is None or self._has_backlog or self._room.free_slots() <= 0:
            return ROUND
        return min(ROUND, max(0.02, (due - at).total_seconds()))

    async def _claim(self) -> int:
        free = min(self._room.free_slots(), CLAIM_BATCH)
        if free <= 0:
            return 0
        failpoints.hit("claiming.before_claim")
        begun, runner_id = self._clock.monotonic(), self._reading.runner_id
        with self._room.claiming() as promised:
            claim = await self._ledger.claim(runner_id, free, CLAIM_BATCH, self._room.share, promised)
            if self._reading.runner_id != runner_id:
                return 0  # whatever the earlier runner took is free again
            self._room.set_behind(claim.behind)
            for found in claim.claimed:
                self._reading.continue_claimed(found)
        if claim.claimed:
            failpoints.hit("claiming.after_claim")
            self._telemetry.claimed(len(claim.claimed), self._clock.monotonic() - begun)
        return len(claim.claimed)

    async def _look_around(self) -> None:
        """The safety net: inboxes of owned executions, the queues of tenants, the other runners."""
        inboxes = await self._ledger.poll_owned(self.runner_id)
        for execution_id, inbox_seq in inboxes.items():
            owned = self._runner.owned.get(execution_id)
            if owned is None:
                self._reading.take_over(execution_id)
            elif owned.folded < inbox_seq:
                self._inboxes.read(owned)
        runners = await self._ledger.runners()
        self._room.set_runners(self.runner_id, runners)
        self._runner.placing.runners = max(1, len(runners))
        self._bus.set_peers(len(runners) > 1)
        self._room.set_depths(await self._ledger.queue_depths(self._room.queue_cap))
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
