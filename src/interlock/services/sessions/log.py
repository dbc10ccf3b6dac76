"""What happened in a session, page by page."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.ids import VersionId
from interlock.core.principal import Principal, Scope
from interlock.core.workflow import FlowDefinition
from interlock.ports.store import EventRecord, Store
from interlock.services.sessions.session import FindSessions, Session


class Log(msgspec.Struct, frozen=True):
    """A page of a session's events and the flow it follows; no session and no events for an unknown id."""

    session: Session | None
    definition: FlowDefinition | None
    records: Sequence[EventRecord]


class ReadLogs:
    """Read the logs of sessions."""

    def __init__(self, store: Store, find: FindSessions) -> None:
        self._store = store
        self._find = find

    async def __call__(self, principal: Principal, session_id: str, after: int, limit: int) -> Log:
        """At most ``limit`` events behind number ``after``. Raises DENIED."""
        principal.require(Scope.EXECUTIONS_READ)
        try:
            session = await self._find(principal, session_id)
        except InterlockError as error:
            if error.kind is not ErrorKind.NOT_FOUND:
                raise
            return Log(None, None, ())
        async with self._store.transaction(principal, read_only=True) as transaction:
            records = await transaction.events(session.execution_id, after, limit)
        return Log(session, await self.definition(principal, session), records)

    async def definition(self, principal: Principal, session: Session) -> FlowDefinition | None:
        """The flow that a session follows; None if the caller may not see it."""
        version = await self._store.version(principal, VersionId(session.version_id))
        definition = version.definition if version is not None else None
        return definition if isinstance(definition, FlowDefinition) else None
