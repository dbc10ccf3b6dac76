"""Start a session of a flow or of a single node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import msgspec

from interlock.core.engine.flow.standing import FlowStanding
from interlock.core.errors import ErrorKind, InterlockError, conflict, invalid, rule_broken, unavailable
from interlock.core.ids import ExecutionId
from interlock.core.principal import Principal, Scope
from interlock.core.workflow import FlowDefinition
from interlock.ports.engine import Engine, Key, Standing, StartExecution, WorkflowChanged
from interlock.services.sessions.picture import PictureSessions
from interlock.services.sessions.program import FindPrograms, Program
from interlock.services.sessions.session import (
    METADATA,
    SCOPE,
    Calling,
    FindSessions,
    Session,
    called_for,
    check_chosen,
)

MAX_PARAMS = 256 * 1024
"""Bytes of the parameters of a session."""
_TRIES = 4


class SessionWish(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller wants started. ``wait`` is seconds, ``digest`` tells one request from another."""

    params: dict[str, object]
    trace_id: str
    digest: str
    flow_id: str | None = None
    node_id: str | None = None
    inherit_session: str | None = None
    from_step: str | None = None
    session_id: str | None = None
    key: Key | None = None
    wait: float = 0.0


class SessionStarted(msgspec.Struct, frozen=True):
    """A session and where its flow stands. ``is_replay``: an earlier request had started it."""

    session: Session
    standing: FlowStanding
    is_replay: bool


class StartSessions:
    """Start sessions; the answer leaves after the commit. ``idle_after`` is seconds a session waits for its user."""

    def __init__(
        self,
        engine: Engine,
        programs: FindPrograms,
        find: FindSessions,
        picture: PictureSessions,
        idle_after: float,
    ) -> None:
        self._engine = engine
        self._programs = programs
        self._find = find
        self._picture = picture
        self.idle_after = idle_after
        self._turns: dict[tuple[str, str], tuple[asyncio.Lock, int]] = {}

    async def __call__(self, principal: Principal, wish: SessionWish) -> SessionStarted:
        """Start, and stay until the session rests or the time to wait is over.

        Raises DENIED; INVALID without flow and node; NOT_FOUND for what it names; RULE for an unknown ``from_step``;
        CONFLICT for a session id that another request has used, MISMATCH for such a key.
        """
        principal.require(Scope.WORKFLOWS_EXECUTE)
        _check(wish)
        if wish.session_id is None:
            return await self._start(principal, wish)
        check_chosen(wish.session_id)
        async with self._turn((principal.tenant_id, wish.session_id)):
            earlier = await self._earlier(principal, wish, wish.session_id)
            return earlier or await self._start(principal, wish)

    @asynccontextmanager
    async def _turn(self, name: tuple[str, str]) -> AsyncIterator[None]:
        """One start of a name at a time in this process; of several processes the commit lets one win."""
        lock, waiting = self._turns.get(name, (asyncio.Lock(), 0))
        self._turns[name] = (lock, waiting + 1)
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._turns.pop(name)
            if waiting > 1:
                self._turns[name] = (lock, waiting - 1)

    async def _start(self, principal: Principal, wish: SessionWish) -> SessionStarted:
        if wish.inherit_session is not None:
            predecessor = await self._picture(principal, wish.inherit_session)
            given = predecessor.execution.input
            params = {**(given if isinstance(given, dict) else {}), **wish.params}
            return await self._begin(principal, wish, params, predecessor.inheritance(), predecessor.session)
        return await self._begin(principal, wish, wish.params, {}, None)

    async def _earlier(self, principal: Principal, wish: SessionWish, session_id: str) -> SessionStarted | None:
        """What a request with this session id has started before. Raises CONFLICT for another request."""
        try:
            row = await self._find.row(principal, session_id)
        except InterlockError as error:
            if error.kind is not ErrorKind.NOT_FOUND:
                raise
            return None
        calling = msgspec.convert(row.metadata.get(METADATA) or {}, Calling)
        if calling.digest != wish.digest:
            raise _in_use(session_id)
        session = await self._find(principal, session_id)
        if wish.wait > 0:
            await self._engine.standing(ExecutionId(session.execution_id), wish.wait)
        return SessionStarted(session, await self._picture.rested(principal, session_id, 0), True)

    async def _begin(
        self,
        principal: Principal,
        wish: SessionWish,
        params: dict[str, object],
        blackboard: dict[str, object],
        predecessor: Session | None,
    ) -> SessionStarted:
        for attempt in range(_TRIES):
            program = await self._program(principal, wish, fresh=attempt > 0)
            _check_step(program, wish.from_step)
            nodes = await self._programs.node_versions(principal, program)
            request = self._request(principal, wish, program, nodes, params, blackboard, predecessor)
            try:
                standing = await self._engine.start(request)
            except WorkflowChanged:
                continue
            except InterlockError as error:
                if error.kind is ErrorKind.MISMATCH and wish.session_id is not None:
                    raise _in_use(wish.session_id) from error
                raise _in_sessions(error) from error
            return await self._started(principal, wish, program, standing)
        raise unavailable("The flow is being changed all the time; try again", retry_after=0.5)

    async def _program(self, principal: Principal, wish: SessionWish, *, fresh: bool) -> Program:
        if wish.flow_id is not None:
            return await self._programs.flow(principal, wish.flow_id, fresh=fresh)
        return await self._programs.node(principal, wish.node_id or "")

    def _request(
        self,
        principal: Principal,
        wish: SessionWish,
        program: Program,
        nodes: dict[str, UUID],
        params: dict[str, object],
        blackboard: dict[str, object],
        predecessor: Session | None,
    ) -> StartExecution:
        chosen = wish.session_id
        calling = Calling(
            session_id=chosen or "",
            flow_id=wish.flow_id,
            node_id=wish.node_id if wish.flow_id is None else None,
            inherit_session=predecessor.session_id if predecessor is not None else None,
            digest=wish.digest if chosen is not None else "",
            nodes=nodes,
        )
        return StartExecution(
            tenant_id=principal.tenant_id,
            user_id=principal.subject,
            started_by=principal.actor or None,
            visibility="tenant",
            workflow_id=program.workflow_id,
            version_id=program.version_id,
            number=program.number,
            definition=program.definition,
            input=params,
            trace_id=wish.trace_id,
            metadata={METADATA: msgspec.to_builtins(calling)},
            start_at=wish.from_step,
            key=Key(SCOPE, chosen, wish.digest) if chosen is not None else wish.key,
            wait=wish.wait,
            needs_head=program.needs_head,
            inherited_from=predecessor.execution_id if predecessor is not None else None,
            blackboard=blackboard,
            idle_after=self.idle_after,
            calling=called_for(calling.flow_id, calling.node_id, program.number),
        )

    async def _started(
        self, principal: Principal, wish: SessionWish, program: Program, standing: Standing
    ) -> SessionStarted:
        execution_id = ExecutionId(standing.execution_id)
        session = Session(
            execution_id=execution_id,
            session_id=wish.session_id or str(execution_id),
            flow_id=wish.flow_id,
            node_id=wish.node_id if wish.flow_id is None else None,
            flow_version=program.number,
            version_id=program.version_id,
            inherit_session=wish.inherit_session,
            trace_id=standing.trace_id,
            created_at=standing.created_at,
        )
        if standing.is_replay or standing.flow is None:
            return SessionStarted(
                session, await self._picture.rested(principal, session.session_id, 0), standing.is_replay
            )
        self._find.remember(principal, session.session_id, session)
        return SessionStarted(session, standing.flow, False)


def _check(wish: SessionWish) -> None:
    if wish.flow_id is None and wish.node_id is None:
        raise invalid("INVALID_REQUEST", "Name a flow_id or a node_id to start")
    if len(msgspec.json.encode(wish.params)) > MAX_PARAMS:
        raise InterlockError(
            ErrorKind.TOO_LARGE, "PAYLOAD_TOO_LARGE", f"params may have at most {MAX_PARAMS} bytes as JSON"
        )


def _check_step(program: Program, step: str | None) -> None:
    if step is None or (isinstance(program.definition, FlowDefinition) and step in program.definition.states):
        return
    reason = f"{step[:64]!r} is not a state of the flow"
    errors = [{"field": "from_step", "reason": reason}]
    raise rule_broken("VALIDATION_ERROR", f"from_step: {reason}", field="from_step", errors=errors)


def _in_sessions(error: InterlockError) -> InterlockError:
    """A refusal of the engine in the words of sessions."""
    details = {("session_id" if key == "execution_id" else key): value for key, value in error.details.items()}
    return InterlockError(
        error.kind,
        error.code,
        error.message,
        details=details,
        retryable=error.retryable,
        retry_after=error.retry_after,
    )


def _in_use(session_id: str) -> InterlockError:
    return conflict("CONFLICT", f"Another request has started the session {session_id!r}", session_id=session_id)
