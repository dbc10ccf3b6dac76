"""Pause an execution, and let it go on."""

from __future__ import annotations

from uuid import UUID

from interlock.core.commands import SignalKind
from interlock.core.ids import ExecutionId
from interlock.core.principal import Principal, Scope
from interlock.ports.engine import Engine, SendSignal
from interlock.ports.store import Store
from interlock.services.executions.signal import Changed, send


class PauseExecutions:
    """Pause and resume. A paused execution starts no task; running attempts finish and are recorded."""

    def __init__(self, store: Store, engine: Engine) -> None:
        self._store = store
        self._engine = engine

    async def pause(
        self, principal: Principal, execution_id: UUID, *, reason: str, key: str | None, trace_id: str
    ) -> Changed:
        """Pause it; one that is paused stays so, and the same key again changes nothing.

        Raises DENIED, NOT_FOUND, CONFLICT if it has ended.
        """
        return await self._send(principal, execution_id, SignalKind.PAUSE, reason, key, trace_id)

    async def resume(
        self, principal: Principal, execution_id: UUID, *, reason: str, key: str | None, trace_id: str
    ) -> Changed:
        """Let it go on; one that is not paused does so anyway, and the same key again changes nothing.

        Raises DENIED, NOT_FOUND, CONFLICT if it has ended.
        """
        return await self._send(principal, execution_id, SignalKind.RESUME, reason, key, trace_id)

    async def _send(
        self, principal: Principal, execution_id: UUID, kind: SignalKind, reason: str, key: str | None, trace_id: str
    ) -> Changed:
        principal.require(Scope.EXECUTIONS_SIGNAL)
        signal = SendSignal(
            execution_id=ExecutionId(execution_id),
            tenant_id=principal.tenant_id,
            kind=kind,
            sent_by=principal.subject,
            trace_id=trace_id,
            payload={"reason": reason},
            dedupe_key=key,
        )
        return await send(self._store, self._engine, principal, signal)
