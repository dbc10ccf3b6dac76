"""Send an execution what it waits for."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from interlock.core.commands import SignalKind
from interlock.core.errors import InterlockError, conflict
from interlock.core.ids import ExecutionId
from interlock.core.principal import Principal, Scope
from interlock.ports.engine import Engine, SendSignal, SignalOutcome
from interlock.ports.store import ExecutionRow, Store
from interlock.services.executions.access import visible

ENDED_ALREADY = "SESSION_CLOSED"
"""Code of the conflict with an execution that has ended; its details hold ``status`` and ``error_code``."""


class Changed(msgspec.Struct, frozen=True):
    """What a signal caused, and where the execution stands after it (before it, if it is not folded yet)."""

    outcome: SignalOutcome
    status: str


class SignalExecutions:
    """Send signals. The inbox orders them; the engine answers with what they caused."""

    def __init__(self, store: Store, engine: Engine) -> None:
        self._store = store
        self._engine = engine

    async def __call__(
        self,
        principal: Principal,
        execution_id: UUID,
        *,
        name: str,
        payload: Any,
        expected_state: str | None,
        signal_id: str | None,
        trace_id: str,
    ) -> Changed:
        """Send the signal ``name``; the same ``signal_id`` again is the same signal.

        Raises DENIED, NOT_FOUND, CONFLICT (ended, or not in ``expected_state``), RULE when the execution refuses it.
        """
        principal.require(Scope.EXECUTIONS_SIGNAL)
        signal = SendSignal(
            execution_id=ExecutionId(execution_id),
            tenant_id=principal.tenant_id,
            kind=SignalKind.EVENT,
            sent_by=principal.subject,
            trace_id=trace_id,
            name=name,
            payload=payload,
            dedupe_key=signal_id,
            expected_state=expected_state,
        )
        return await send(self._store, self._engine, principal, signal)


async def send(store: Store, engine: Engine, principal: Principal, signal: SendSignal) -> Changed:
    """Send a signal to an execution that the caller may see.

    Raises NOT_FOUND, CONFLICT ``ENDED_ALREADY`` with how it ended, and whatever else the engine refuses with.
    """
    row = await visible(store, principal, signal.execution_id)
    try:
        outcome = await engine.signal(signal)
    except InterlockError as error:
        if error.code != ENDED_ALREADY:
            raise
        raise _ended_already(await visible(store, principal, signal.execution_id)) from error
    return Changed(outcome, outcome.status or row.status)


def _ended_already(row: ExecutionRow) -> InterlockError:
    error_code = row.error.get("code") if isinstance(row.error, dict) else None
    message = f"The execution has already {row.status}"
    return conflict(ENDED_ALREADY, message, status=row.status, error_code=error_code, ended=True)
