"""Push an event into a session, and say where that took it."""

from __future__ import annotations

from typing import Any

import msgspec

from interlock.core.commands import SignalKind
from interlock.core.engine.flow.standing import FlowStanding
from interlock.core.errors import ErrorKind, InterlockError, conflict, rule_broken, unavailable
from interlock.core.execution import Status
from interlock.core.ids import ExecutionId
from interlock.core.principal import Principal, Scope
from interlock.ports.engine import Engine, SendSignal, SignalOutcome
from interlock.services.executions.signal import ENDED_ALREADY
from interlock.services.sessions.picture import PictureSessions
from interlock.services.sessions.session import FindSessions, Session, unknown_session

OUTCOME_SECONDS = 20.0
"""How long the outcome of an event may take; long enough for a session to be taken over from a server that died."""


class Push(msgspec.Struct, frozen=True, kw_only=True):
    """An event on its way. ``wait`` is seconds until the session has to rest; an ``event_id`` tells a repeat."""

    name: str
    payload: Any
    trace_id: str
    expected_state: str | None = None
    event_id: str | None = None
    wait: float = 0.0


class Pushed(msgspec.Struct, frozen=True):
    """Where the session stands after the event, whose own number is ``tick`` (None if it caused none).

    ``is_replay``: an earlier event of the same id had done it.
    """

    session: Session
    standing: FlowStanding
    tick: int | None
    is_replay: bool


class PushEvents:
    """Push events. The inbox orders them, so that of two at once one comes first."""

    def __init__(self, engine: Engine, find: FindSessions, picture: PictureSessions) -> None:
        self._engine = engine
        self._find = find
        self._picture = picture

    async def __call__(self, principal: Principal, session_id: str, push: Push) -> Pushed:
        """Push, and stay until the session rests or the time to wait is over.

        Raises DENIED, NOT_FOUND; RULE ``INVALID_TRANSITION`` if the flow does not want the event; CONFLICT for a
        session that ended otherwise than by succeeding, is paused, or is not in the expected state; UNAVAILABLE if
        nobody decided the event in time.
        """
        principal.require(Scope.EXECUTIONS_SIGNAL)
        session = await self._find(principal, session_id)
        signal = SendSignal(
            execution_id=ExecutionId(session.execution_id),
            tenant_id=principal.tenant_id,
            kind=SignalKind.EVENT,
            sent_by=principal.by,
            trace_id=push.trace_id,
            name=push.name,
            payload=push.payload,
            dedupe_key=push.event_id,
            expected_state=push.expected_state,
            wait=OUTCOME_SECONDS,
            rest=push.wait,
        )
        try:
            outcome = known(await self._engine.signal(signal))
        except InterlockError as error:
            raise await self._refused(principal, session_id, push, error) from error
        standing = await self._standing(principal, session_id, outcome)
        return Pushed(session, standing, outcome.first_seq, outcome.is_replay)

    async def _standing(self, principal: Principal, session_id: str, outcome: SignalOutcome) -> FlowStanding:
        if outcome.flow is not None:
            return outcome.flow
        if outcome.last_seq is None:
            return (await self._picture(principal, session_id)).standing
        return await self._picture.rested(principal, session_id, outcome.last_seq - 1)

    async def _refused(
        self, principal: Principal, session_id: str, push: Push, error: InterlockError
    ) -> InterlockError:
        """The refusal in the words of sessions."""
        if error.kind is ErrorKind.NOT_FOUND:
            return unknown_session(session_id)
        if error.kind is ErrorKind.MISMATCH:
            message = "This event_id was used with another event; use a new one for a new event"
            return InterlockError(error.kind, error.code, message)
        if error.code != ENDED_ALREADY:
            return error
        standing = (await self._picture(principal, session_id)).standing
        state = standing.active[0] if standing.active else None
        where: dict[str, Any] = {
            "current_state": state,
            "status": standing.status,
            "waiting_reason": None,
            "valid_events": [],
            "tick": standing.seq,
        }
        if standing.status != Status.SUCCEEDED:
            return conflict(ENDED_ALREADY, f"The session has ended; it takes no event {push.name!r} any more", **where)
        if push.expected_state is not None and push.expected_state not in standing.active:
            return conflict("STATE_CONFLICT", f"The flow is not in state {push.expected_state!r}", **where)
        return rule_broken("INVALID_TRANSITION", f"No transition from state '{state}' on event '{push.name}'", **where)


def known(outcome: SignalOutcome) -> SignalOutcome:
    """The outcome, which is there. Raises UNAVAILABLE: what was sent is recorded, and nobody has decided it yet."""
    if not outcome.pending:
        return outcome
    message = "It is recorded and will be decided; send it again with the same event_id to learn the outcome"
    raise unavailable(message, code="OUTCOME_UNKNOWN", retry_after=1)
