from __future__ import annotations
import asyncio, time
from typing import Any
from interlock.core.audit import AuditEntry, Outcome
from interlock.kit.ids import RandomIds
from interlock.kit.clock import SystemClock

def entry(tenant_id: str) -> AuditEntry:
    return AuditEntry(audit_id=RandomIds().new(), tenant_id=tenant_id, at=SystemClock().now(), subject="ann", kind="user",
        action="POST /api/app/workflows/{workflow_id}/execute", outcome=Outcome.DONE, status=200, door="app")

async def test_cost(house: Any, tenant: Any) -> None:
    log = house.services.access.audit
    for width in (1, 50):
        async def one(n: int) -> None:
            for _ in range(n):
                await log.record(entry(tenant.tenant_id))
        await asyncio.gather(*(one(3) for _ in range(width)))
        n = 400 if width == 1 else 60
        began, wall = time.process_time(), time.perf_counter()
        await asyncio.gather(*(one(n) for _ in range(width)))
        cpu, wall = time.process_time() - began, time.perf_counter() - wall
        print(f"c={width}: {cpu / n / width * 1e6:.0f} us CPU, {wall / n * 1e3:.2f} ms each")
