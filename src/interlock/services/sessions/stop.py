"""Stop a session for good."""

from __future__ import annotations

from interlock.core.errors import unavailable
from interlock.core.execution import ENDED
from interlock.core.principal import Principal, Scope
from interlock.ports.store import ExecutionRow
from interlock.services.executions.cancel import CancelExecutions
from interlock.services.sessions.session import FindSessions, Session


class StopSessions:
    """Stop sessions: once recorded no node starts and no event, callback or timer changes them any more."""

    def __init__(self, find: FindSessions, cancel: CancelExecutions) -> None:
        self._find = find
        self._cancel = cancel

    async def __call__(
        self, principal: Principal, session_id: str, *, reason: str, trace_id: str
    ) -> tuple[Session, ExecutionRow]:
        """Stop it; one that has ended stays as it is. Raises DENIED, NOT_FOUND, UNAVAILABLE."""
        principal.require(Scope.EXECUTIONS_CANCEL)
        session = await self._find(principal, session_id)
        cancelled = await self._cancel(principal, session.execution_id, reason=reason, trace_id=trace_id)
        if cancelled.row.status not in ENDED:
            raise unavailable("The session will be stopped and is not yet; ask again", code="OUTCOME_UNKNOWN")
        return session, cancelled.row
