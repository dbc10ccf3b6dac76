"""A runner's sign of life: a thread of its own renews the heartbeat as long as the event loop turns.

Lease and heartbeat are judged by the database's clock; what this process may still release is judged by its own
monotonic clock, counted from before the last renewal was asked for.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from interlock.kit.clock import Clock
from interlock.ports.ledger import Lease
from interlock.ports.telemetry import Telemetry

HEARTBEAT = 1.0
LEASE = 6.0
MAX_SILENCE = 2.0
"""The loop must have ticked within so many seconds for the heartbeat to be renewed."""
CLOCK_TOLERANCE = 0.02
"""Seconds by which a renewal may be slower than usual and still set the clock."""
QUIET_BEFORE_REAP = 3.0
"""Age of a heartbeat after which a free lock proves the death of its runner."""

log = structlog.get_logger("liveness")


class Liveness:
    """Keeps one runner alive in the eyes of the others."""

    def __init__(
        self,
        lease: Lease,
        clock: Clock,
        telemetry: Telemetry,
        *,
        on_reaped: Callable[[int], None],
        on_clock: Callable[[datetime], None],
    ) -> None:
        self._lease = lease
        self._clock = clock
        self._telemetry = telemetry
        self._on_reaped = on_reaped
        self._on_clock = on_clock
        self._runner_id = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ticked = clock.monotonic()
        self._renewed = clock.monotonic()
        self._connected_since = clock.monotonic()
        self._ticker: asyncio.Task[None] | None = None
        self._usual = MAX_SILENCE  # seconds a renewal usually takes

    def start(self, runner_id: int) -> None:
        """Begin to renew for a newly registered runner."""
        self._runner_id = runner_id
        self._renewed = self._connected_since = self._ticked = self._clock.monotonic()
        self._loop = asyncio.get_running_loop()
        if self._thread is None:
            self._ticker = asyncio.create_task(self._tick(), name="liveness-ticker")
            self._thread = threading.Thread(target=self._run, name="liveness", daemon=True)
            self._thread.start()

    async def stop(self) -> None:
        """End the thread; the lock is free afterwards."""
        self._stop.set()
        if self._ticker is not None:
            self._ticker.cancel()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, 10.0)

    def is_sure(self) -> bool:
        """Whether nobody can have reaped this runner yet: its lease is certainly not over."""
        return self._clock.monotonic() - self._renewed < LEASE

    def may_reap(self) -> bool:
        """Whether it may judge others: connected for a whole lease, and renewed just now."""
        now = self._clock.monotonic()
        return now - self._connected_since >= LEASE and now - self._renewed < MAX_SILENCE

    @property
    def is_fresh(self) -> bool:
        """Whether the last renewal is recent enough to call the runner ready."""
        return self._clock.monotonic() - self._renewed < LEASE / 2

    async def _tick(self) -> None:
        while True:
            before = self._clock.monotonic()
            self._ticked = before
            await asyncio.sleep(0.1)
            lag = self._clock.monotonic() - before - 0.1
            self._telemetry.gauge("loop_lag_seconds", max(0.0, lag))

    def _run(self) -> None:
        is_open = False
        held = 0
        while not self._stop.wait(HEARTBEAT):
            try:
                if not is_open:
                    self._lease.open()
                    is_open, held = True, 0
                    self._connected_since = self._clock.monotonic()
                if held != self._runner_id:
                    self._lease.hold(self._runner_id)
                    held = self._runner_id
                self._renew()
            except Exception as error:  # noqa: BLE001 - the driver's errors are many; each means: connect again
                log.warning("liveness.renewal_failed", runner_id=self._runner_id, reason=str(error)[:200])
                is_open = False
                self._discard()
        self._discard(final=True)

    def _renew(self) -> None:
        asked = self._clock.monotonic()
        if asked - self._ticked > MAX_SILENCE:
            log.error("liveness.loop_silent", seconds=round(asked - self._ticked, 1))
            return
        runner_id = self._runner_id
        now = self._lease.renew(runner_id)
        loop = self._loop
        if loop is None or loop.is_closed() or runner_id != self._runner_id:
            return
        if now is None:
            loop.call_soon_threadsafe(self._on_reaped, runner_id)
            return
        self._renewed = asked
        self._set_clock(now, self._clock.monotonic() - asked)

    def _set_clock(self, now: datetime, took: float) -> None:
        """An answer that was long on its way says little about now: what was asked of a busy machine is left out.

        Called here and not on the loop, where it would be older by whatever the loop has to do first.
        """
        self._usual = min(took, self._usual * 1.5)
        if took <= 2 * self._usual + CLOCK_TOLERANCE:
            self._on_clock(now + timedelta(seconds=took / 2))

    def _discard(self, *, final: bool = False) -> None:
        try:
            self._lease.close()
        except Exception as error:  # noqa: BLE001 - closing what is broken may fail in any way
            log.warning("liveness.close_failed", final=final, reason=str(error)[:200])
