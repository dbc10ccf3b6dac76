"""Which execution a session is, and what never changes of it."""

from __future__ import annotations

import contextlib
import re
from collections import OrderedDict
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from interlock.core.errors import InterlockError, not_found, rule_broken
from interlock.core.principal import Principal
from interlock.kit.ids import named
from interlock.ports.store import ExecutionRow, Store, Transaction

METADATA = "session"
"""Where an execution's metadata keep what its session is called."""

SCOPE = "session"
"""The scope of the keys that are clients' names for their sessions."""
_CHOSEN = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_REMEMBERED = 20_000


class Calling(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a session was called for, as its execution's metadata keep it.

    ``nodes`` are the versions of the registered nodes that it calls.
    """

    session_id: str = ""
    flow_id: str | None = None
    node_id: str | None = None
    inherit_session: str | None = None
    digest: str = ""
    nodes: dict[str, UUID] = {}


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A session: what never changes of it."""

    execution_id: UUID
    session_id: str
    flow_id: str | None
    node_id: str | None
    flow_version: int
    version_id: UUID
    inherit_session: str | None
    trace_id: str
    created_at: datetime


def called_for(flow_id: str | None, node_id: str | None, number: int) -> dict[str, Any]:
    """What a session's states may read of how it was called for; ``number`` is the version of its flow."""
    return {"_flow_id": flow_id, "_flow_version": number, "_node_id": node_id, "_implicit": node_id is not None}


def session_of(row: ExecutionRow) -> Session:
    """The session of an execution's row; one that was started elsewhere is called by its plain id."""
    calling = msgspec.convert(row.metadata.get(METADATA) or {}, Calling)
    is_flow = calling.node_id is None
    return Session(
        execution_id=row.execution_id,
        session_id=calling.session_id or str(row.execution_id),
        flow_id=calling.flow_id or (str(row.workflow_id) if is_flow and row.workflow_id is not None else None),
        node_id=calling.node_id,
        flow_version=row.workflow_number,
        version_id=row.version_id,
        inherit_session=calling.inherit_session,
        trace_id=row.trace_id,
        created_at=row.created_at,
    )


def shown_id(row: ExecutionRow) -> str:
    """What an execution is called wherever it is shown: as its client chose, else by its own id."""
    calling = row.metadata.get(METADATA)
    chosen = calling.get("session_id") if isinstance(calling, dict) else None
    return str(chosen or row.execution_id)


def check_chosen(chosen: str, field: str = "session_id") -> None:
    """Raise RULE for an id that no client may choose; ``field`` is where it stood."""
    if not _CHOSEN.fullmatch(chosen):
        reason = "must be 1 to 128 letters, digits and _ . : -"
        errors = [{"field": field, "reason": reason}]
        raise rule_broken("VALIDATION_ERROR", f"{field}: {reason}", field=field, errors=errors)


async def possible_ids(transaction: Transaction, tenant_id: str, session_id: str) -> AsyncIterator[UUID]:
    """The executions that a text may stand for, the likeliest first."""
    with contextlib.suppress(ValueError):  # then it is one that a client chose
        yield UUID(session_id.removeprefix("run_").removeprefix("sess_"))
    if _CHOSEN.fullmatch(session_id):
        found = await transaction.chosen(SCOPE, session_id)
        yield found if found is not None else named("session", tenant_id, session_id)  # what names stood for before


def unknown_session(session_id: str) -> InterlockError:
    return not_found("SESSION_NOT_FOUND", f"There is no session {session_id[:128]!r}")


class FindSessions:
    """Finds sessions, and remembers whom it has shown which: neither changes any more."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: OrderedDict[tuple[str, str, str], Session] = OrderedDict()

    async def __call__(self, principal: Principal, session_id: str) -> Session:
        """The session, if the caller may see it. Raises NOT_FOUND for an unknown and for a foreign one alike."""
        kept = self._kept.get(_key(principal, session_id))
        return kept if kept is not None else session_of(await self.row(principal, session_id))

    async def row(self, principal: Principal, session_id: str) -> ExecutionRow:
        """The row as it is now. Raises NOT_FOUND."""
        async with self._store.transaction(principal, read_only=True) as transaction:
            async for execution_id in possible_ids(transaction, principal.tenant_id, session_id):
                row = await transaction.execution(execution_id)
                if row is not None and row.kind == "flow":
                    self.remember(principal, session_id, session_of(row))
                    return row
        raise unknown_session(session_id)

    async def ids(self, principal: Principal, text: str) -> list[UUID]:
        """All executions that a text may stand for, the likeliest first; whether they are there is not looked up."""
        async with self._store.transaction(principal, read_only=True) as transaction:
            return [found async for found in possible_ids(transaction, principal.tenant_id, text)]

    def remember(self, principal: Principal, session_id: str, session: Session) -> None:
        """The caller may see this session."""
        self._kept[_key(principal, session_id)] = session
        if len(self._kept) > _REMEMBERED:
            self._kept.popitem(last=False)


def _key(principal: Principal, session_id: str) -> tuple[str, str, str]:
    return principal.tenant_id, principal.subject, session_id
