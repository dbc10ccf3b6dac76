"""Read and write the blackboard of a session, or one that belongs to no session."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec

from interlock.core.commands import SignalKind
from interlock.core.errors import ErrorKind, InterlockError, conflict, rule_broken
from interlock.core.execution import ENDED
from interlock.core.ids import ExecutionId
from interlock.core.principal import Principal, Scope
from interlock.kit import strict_json
from interlock.ports.engine import Engine, SendSignal
from interlock.ports.store import Store
from interlock.services.sessions.picture import Picture, PictureSessions
from interlock.services.sessions.push import OUTCOME_SECONDS, known
from interlock.services.sessions.session import check_chosen

MAX_KEY = 256
"""Characters of a key."""
MAX_VALUE = 256 * 1024
"""Bytes of a value as JSON."""
MAX_BLACKBOARD = 4 << 20
"""Bytes of all values of a blackboard."""
LIFETIME = timedelta(hours=24)
"""How long a blackboard without a session is kept after it was written last."""
_RESERVED = ("_", "signal:")


class Board(msgspec.Struct, frozen=True):
    """All keys of a blackboard, the versions of those that were written, and its session if it belongs to one."""

    values: dict[str, Any]
    versions: Mapping[str, int]
    picture: Picture | None


class Blackboards:
    """Blackboards of sessions are a view of what happened; others are kept for a day."""

    def __init__(self, store: Store, engine: Engine, picture: PictureSessions) -> None:
        self._store = store
        self._engine = engine
        self._picture = picture

    async def read(self, principal: Principal, session_id: str) -> Board:
        """The blackboard of an id; an empty one if nobody has used it. Raises DENIED."""
        principal.require(Scope.BLACKBOARD_READ)
        picture = await self._session(principal, session_id)
        if picture is not None:
            return Board(picture.blackboard(), picture.execution.written, picture)
        async with self._store.transaction(principal, read_only=True) as transaction:
            found = await transaction.scratch(session_id)
        values = {key: entry.value for key, entry in found.items()}
        return Board(values, {key: entry.version for key, entry in found.items()}, None)

    async def write(
        self, principal: Principal, session_id: str, key: str, value: Any, *, expected: int | None, trace_id: str
    ) -> int:
        """Set a key, if it is at version ``expected``; its new version comes back.

        Raises DENIED (also for a reserved key), RULE for an id or key that is none, CONFLICT for a session that has
        ended, PRECONDITION, TOO_LARGE, UNAVAILABLE if nobody decided it in time.
        """
        principal.require(Scope.BLACKBOARD_WRITE)
        check_chosen(session_id)
        size = _check(key, value)
        picture = await self._session(principal, session_id)
        if picture is None:
            return await self._write_scratch(principal, session_id, key, value, size, expected)
        if picture.execution.ended in ENDED:
            raise conflict("SESSION_CLOSED", "The session has ended; its blackboard stays as it is")
        board = {name: found for name, found in picture.execution.blackboard.items() if name != key}
        _check_whole(size + len(msgspec.json.encode(board)))
        signal = SendSignal(
            execution_id=ExecutionId(picture.session.execution_id),
            tenant_id=principal.tenant_id,
            kind=SignalKind.BLACKBOARD,
            sent_by=principal.by,
            trace_id=trace_id,
            name=key,
            payload=value,
            expected_state=None if expected is None else str(expected),
            wait=OUTCOME_SECONDS,
        )
        return known(await self._engine.signal(signal)).first_seq or 0

    async def _write_scratch(
        self, principal: Principal, session_id: str, key: str, value: Any, size: int, expected: int | None
    ) -> int:
        async with self._store.transaction(principal) as transaction:
            await transaction.lock_scratch(session_id)
            found = (await transaction.scratch(session_id)).get(key) if expected is not None else None
            version = found.version if found is not None else 0
            if expected not in (None, version):
                message = f"The key is at version {version}, not {expected}"
                raise InterlockError(
                    ErrorKind.PRECONDITION, "PRECONDITION_FAILED", message, details={"version": version}
                )
            _check_whole(size + await transaction.scratch_size(session_id, key))
            return await transaction.write_scratch(session_id, key, value, size, LIFETIME)

    async def _session(self, principal: Principal, session_id: str) -> Picture | None:
        try:
            return await self._picture(principal, session_id)
        except InterlockError as error:
            if error.kind is not ErrorKind.NOT_FOUND:
                raise
            return None


def _check(key: str, value: Any) -> int:
    """Bytes of the value. Raises DENIED, TOO_LARGE, RULE."""
    if key.startswith(_RESERVED):
        message = f"{key[:64]!r} is a name of the house; keys beginning with _ or signal: are read only"
        raise InterlockError(ErrorKind.DENIED, "RESERVED_KEY", message)
    if not key or "\0" in key:
        errors = [{"field": "key", "reason": "must be a text"}]
        raise rule_broken("VALIDATION_ERROR", "key: must be a text", field="key", errors=errors)
    size = len(strict_json.encode(value))
    if len(key) > MAX_KEY or size > MAX_VALUE:
        message = f"A key may have {MAX_KEY} characters and a value {MAX_VALUE} bytes"
        raise InterlockError(ErrorKind.TOO_LARGE, "PAYLOAD_TOO_LARGE", message)
    return size


def _check_whole(size: int) -> None:
    if size > MAX_BLACKBOARD:
        message = f"A blackboard may have at most {MAX_BLACKBOARD} bytes"
        raise InterlockError(ErrorKind.TOO_LARGE, "PAYLOAD_TOO_LARGE", message)
