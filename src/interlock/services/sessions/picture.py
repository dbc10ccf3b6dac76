"""A session as its log tells it: the same fold that the engine has, read by somebody else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from interlock.core.engine.evolve import evolve
from interlock.core.engine.flow.board import Board
from interlock.core.engine.flow.program import FlowProgram
from interlock.core.engine.flow.standing import FlowStanding, flow_standing
from interlock.core.errors import not_found
from interlock.core.events import Event, ExecutionCancelled, Recorded, decode_event
from interlock.core.execution import ENDED, Execution, Status, WaitingReason
from interlock.core.ids import ExecutionId, VersionId
from interlock.core.large import put_back
from interlock.core.principal import Principal, Scope
from interlock.core.workflow import FlowDefinition, Version
from interlock.ports.blobs import Blobs
from interlock.ports.node import Registry
from interlock.ports.store import EventRecord, ExecutionRow, Store
from interlock.services.executions.large import large_values
from interlock.services.sessions.session import FindSessions, Session, called_for, session_of

_PAGE = 1_000
_AT_REST = ENDED | {Status.WAITING, Status.PAUSED}
_RESERVED = ("_", "signal:")


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """A session and all that happened to it, folded."""

    session: Session
    row: ExecutionRow
    definition: FlowDefinition
    execution: Execution
    events: Sequence[Recorded]
    successors: Sequence[str] = ()

    @property
    def standing(self) -> FlowStanding:
        """Where its flow stands."""
        return _standing(self.execution)

    @property
    def abort_reason(self) -> str | None:
        """Why it was stopped; None unless it was."""
        cancelled = [found.event for found in self.events if isinstance(found.event, ExecutionCancelled)]
        return cancelled[0].reason or "aborted" if cancelled else None

    def blackboard(self) -> dict[str, Any]:
        """What nodes wrote and people set, with what the house says of the session under reserved names."""
        session = self.session
        told: dict[str, Any] = called_for(session.flow_id, session.node_id, session.flow_version)
        told["_session_state"] = None  # in the words of whoever shows it
        if self.abort_reason is not None:
            told |= {"_abort_reason": self.abort_reason, "signal:abort": True}
        return {**Board(self.execution).plain(), **told}

    def inheritance(self) -> dict[str, Any]:
        """What a session that follows this one begins with."""
        return {key: value for key, value in self.blackboard().items() if not key.startswith(_RESERVED)}


class PictureSessions:
    """Reads logs and folds them."""

    def __init__(self, store: Store, blobs: Blobs, registry: Registry, find: FindSessions) -> None:
        self._store = store
        self._blobs = blobs
        self._registry = registry
        self._find = find

    async def __call__(self, principal: Principal, session_id: str) -> Picture:
        """A session as it is now. Raises NOT_FOUND."""
        session, row, version, events = await self._read(principal, session_id)
        execution = self._begin(session, version)
        for record in events:
            evolve(execution, record.event, record.at)
        return Picture(session=session, row=row, definition=_flow_of(version), execution=execution, events=events)

    async def show(self, principal: Principal, session_id: str) -> Picture:
        """The same for a caller who wants to look, with the sessions that inherited from it.

        Raises DENIED, NOT_FOUND.
        """
        principal.require(Scope.EXECUTIONS_READ)
        picture = await self(principal, session_id)
        async with self._store.transaction(principal, read_only=True) as transaction:
            successors = await transaction.successors(picture.session.session_id)
        return msgspec.structs.replace(picture, successors=successors)

    async def rested(self, principal: Principal, session_id: str, after: int) -> FlowStanding:
        """How it stood when it first rested after event number ``after``, else how it stands. Raises NOT_FOUND."""
        session, _, version, events = await self._read(principal, session_id)
        execution = self._begin(session, version)
        for index, record in enumerate(events):
            evolve(execution, record.event, record.at)
            is_turn = index + 1 == len(events) or events[index + 1].at != record.at
            if execution.seq > after and is_turn and _rests(execution):
                break
        return _standing(execution)

    def _begin(self, session: Session, version: Version) -> Execution:
        program = FlowProgram(_flow_of(version), self._registry.types)
        return Execution(ExecutionId(session.execution_id), program)

    async def _read(
        self, principal: Principal, session_id: str
    ) -> tuple[Session, ExecutionRow, Version, list[Recorded]]:
        row = await self._find.row(principal, session_id)
        records: list[EventRecord] = []
        async with self._store.transaction(principal, read_only=True) as transaction:
            while True:
                page = await transaction.events(row.execution_id, len(records), _PAGE)
                records += page
                if len(page) < _PAGE:
                    break
        version = await self._store.version(principal, VersionId(row.version_id))
        if version is None:
            raise not_found("SESSION_NOT_FOUND", f"There is no session {session_id[:128]!r}")
        values = await large_values(self._blobs, principal.tenant_id, records)
        return session_of(row), row, version, [_recorded(record, values) for record in records]


def _recorded(record: EventRecord, values: dict[str, Any]) -> Recorded:
    event: Event = decode_event(record.type, record.data)
    if record.refs:
        known = {path: sha256 for path, sha256 in record.refs.items() if sha256 in values}
        event = put_back(event, known, values)
    return Recorded(record.seq, record.at, record.trace_id, event)


def _rests(execution: Execution) -> bool:
    """Whether it rests; the pause before a node's next attempt is none."""
    return execution.status in _AT_REST and execution.waiting_reason is not WaitingReason.RETRY_AT


def _standing(execution: Execution) -> FlowStanding:
    standing = flow_standing(execution)
    if standing is None:
        raise TypeError("a session is always a flow")
    return standing


def _flow_of(version: Version) -> FlowDefinition:
    if not isinstance(version.definition, FlowDefinition):
        raise TypeError("a session is always a flow")
    return version.definition
