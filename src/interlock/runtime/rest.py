"""Waiting for an execution to rest, whoever owns it."""

from __future__ import annotations

from typing import Any

import msgspec

from interlock.core.errors import not_found
from interlock.core.execution import ENDED, Status, WaitingReason
from interlock.core.ids import ExecutionId
from interlock.core.large import put
from interlock.kit.clock import Clock
from interlock.kit.turn import give_up
from interlock.ports.blobs import Blobs
from interlock.ports.bus import Bus
from interlock.ports.engine import Standing
from interlock.ports.ledger import Ledger
from interlock.runtime.faults import guarded

LOOK_AGAIN = 1.0
"""Seconds until the next look at the row, should no hint come."""


class Rest:
    """Reads where executions stand, and stays until they rest."""

    def __init__(self, ledger: Ledger, blobs: Blobs, bus: Bus, clock: Clock) -> None:
        self._ledger = ledger
        self._blobs = blobs
        self._bus = bus
        self._clock = clock

    async def standing(self, execution_id: ExecutionId, wait: float) -> Standing:
        """Where it stands once it rests, or after ``wait`` seconds. Raises NOT_FOUND."""
        until = self._clock.monotonic() + wait
        subscription = self._bus.follow(execution_id) if wait > 0 else None
        try:
            while True:
                row = await guarded(self._ledger.standing(execution_id))
                if row is None:
                    raise not_found("NOT_FOUND", f"There is no execution {execution_id}")
                kind, left = row.pop("kind"), until - self._clock.monotonic()
                if subscription is None or left <= 0 or _is_at_rest(kind, row):
                    return Standing(execution_id=execution_id, **await self._whole(row))
                give_up()
                await subscription.wait(min(left, LOOK_AGAIN))
        finally:
            if subscription is not None:
                subscription.close()

    async def _whole(self, row: dict[str, Any]) -> dict[str, Any]:
        """The row with the large values of its output in place."""
        tenant_id, refs = row.pop("tenant_id"), row.pop("output_refs") or {}
        for path, sha256 in refs.items():
            content = await self._blobs.get(tenant_id, sha256)
            row["output"] = put(row["output"], path, msgspec.json.decode(content))
        return row


def _is_at_rest(kind: str, row: dict[str, Any]) -> bool:
    """Whether nothing moves it by itself; the pause of a flow before a node's next attempt is no rest."""
    if row["status"] == Status.WAITING:
        return kind != "flow" or row["waiting_reason"] != WaitingReason.RETRY_AT
    return row["status"] == Status.PAUSED or row["status"] in ENDED
