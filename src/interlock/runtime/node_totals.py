"""How often nodes ran in the whole deployment, and for how long: counted here, added up in the database.

Nothing is written for a single task. What was counted since the last time goes there about once a second and whenever
somebody asks, so a process that is killed loses a second of it.
"""

from __future__ import annotations

import asyncio

import structlog

from interlock.ports.ledger import Ledger, NodeTotal

SECONDS = 1.0
"""How long counts stay in this process alone."""

log = structlog.get_logger("totals")


class NodeTotals:
    """Counts ended attempts by tenant and node."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._counted: dict[tuple[str, str], NodeTotal] = {}
        self._writing = asyncio.Lock()
        self._soon: asyncio.Task[None] | None = None

    def count(self, tenant_id: str, node: str, seconds: float | None) -> None:
        """One more attempt has ended, after so many seconds (None: nobody measured)."""
        key = (tenant_id, node)
        total = self._counted.get(key)
        if total is None:
            total = self._counted[key] = NodeTotal(tenant_id, node)
        total.ended += 1
        if seconds is not None:
            total.time(seconds)
        if self._soon is None:
            self._soon = asyncio.create_task(self._write_soon())

    async def write(self) -> None:
        """Add what was counted to the totals of the deployment. Raises what the database does; nothing is lost then."""
        async with self._writing:
            counted, self._counted = self._counted, {}
            if not counted:
                return
            try:
                await self._ledger.add_node_totals([counted[key] for key in sorted(counted)])
            except BaseException:
                self._keep(counted)
                raise

    async def stop(self) -> None:
        """Write what is left, if the database takes it."""
        if self._soon is not None:
            self._soon.cancel()
            await asyncio.gather(self._soon, return_exceptions=True)
        await self._try_to_write()

    async def _write_soon(self) -> None:
        await asyncio.sleep(SECONDS)
        self._soon = None
        await self._try_to_write()

    async def _try_to_write(self) -> None:
        try:
            await self._writing_in_time()
        except Exception as error:  # noqa: BLE001 - the database may be away in many ways; the next count tries again
            log.warning("totals.not_written", reason=f"{type(error).__name__}: {error}"[:200])

    async def _writing_in_time(self) -> None:
        async with asyncio.timeout(5.0):
            await self.write()

    def _keep(self, counted: dict[tuple[str, str], NodeTotal]) -> None:
        for key, total in counted.items():
            known = self._counted.get(key)
            if known is not None:
                total.add(known)
            self._counted[key] = total
