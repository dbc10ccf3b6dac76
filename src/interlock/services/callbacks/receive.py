"""Take a callback: once, and with an answer that says what became of it."""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias
from uuid import UUID

import msgspec

from interlock.core.callback import NodeResult
from interlock.core.commands import SignalKind
from interlock.core.engine.callbacks import DUPLICATE, ignored
from interlock.core.errors import InterlockError, not_found, unavailable
from interlock.core.execution import Status
from interlock.core.ids import ExecutionId
from interlock.ports.engine import Engine, SendSignal, SignalOutcome
from interlock.ports.telemetry import WebhookTelemetry
from interlock.ports.webhooks import AcceptedCallback, CallbackRows, CallbackTarget, FlowPosition
from interlock.services.callbacks.prove import Evidence, ProveCallbacks, Proved, unknown_session
from interlock.services.executions.signal import ENDED_ALREADY

RECEIVED: Final = "received"
REPEATED: Final = "duplicate"
IGNORED: Final = "ignored"
Became: TypeAlias = Literal["received", "duplicate", "ignored"]
MAX_LATE = 100
"""Different callbacks that are recorded after the end of an execution; any more are answered alike and forgotten."""
REST_SECONDS = 10.0
"""How long an answer waits for what the callback set off to come to rest."""


class Callback(msgspec.Struct, frozen=True, kw_only=True):
    """What was called back. ``callback_id`` tells a repeat; without one an equal answer does."""

    step: str
    answer: NodeResult
    callback_id: str = ""


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a callback, and where the execution stands now. ``reason`` says why it was ignored."""

    status: Became
    position: FlowPosition
    reason: str = ""


class ReceiveCallbacks:
    """The engine decides; what comes after the execution has ended changes nothing, and is written behind its end."""

    def __init__(self, engine: Engine, rows: CallbackRows, prove: ProveCallbacks, telemetry: WebhookTelemetry) -> None:
        self._engine = engine
        self._rows = rows
        self._prove = prove
        self._telemetry = telemetry

    async def __call__(self, execution_id: UUID, callback: Callback, evidence: Evidence, trace_id: str) -> Taken:
        """Raises UNAUTHENTICATED, NOT_FOUND (SESSION_NOT_FOUND, STEP_NOT_FOUND), UNAVAILABLE: then send it again."""
        try:
            taken = await self._take(execution_id, callback, evidence, trace_id)
        except InterlockError:
            self._telemetry.webhook_ended("in", "refused")
            raise
        self._telemetry.webhook_ended("in", taken.status)
        return taken

    async def _take(self, execution_id: UUID, callback: Callback, evidence: Evidence, trace_id: str) -> Taken:
        target = await self._rows.callback_target(execution_id, callback.step)
        proved = await self._prove(execution_id, callback.step, target, evidence)
        if target is None:
            raise unknown_session(str(execution_id))
        if not target.has_step and proved.place is None:
            raise not_found("STEP_NOT_FOUND", f"The session has no step {callback.step[:64]!r}")
        callback_id = callback.callback_id or proved.message_id
        if callback_id and any(
            known.callback_id == callback_id for known in await self._rows.accepted_callbacks(execution_id)
        ):
            return await self._taken(REPEATED, execution_id)
        signal = _signal(execution_id, target, callback, callback_id, proved, trace_id)
        if target.is_ended:
            return await self._late(signal)
        try:
            outcome = await self._engine.signal(signal)
        except InterlockError as error:
            if error.code == DUPLICATE:
                return await self._taken(REPEATED, execution_id)
            if error.code == ENDED_ALREADY:
                return await self._late(signal)
            raise
        return await self._told(execution_id, outcome)

    async def _told(self, execution_id: UUID, outcome: SignalOutcome) -> Taken:
        if outcome.is_replay:
            return await self._taken(REPEATED, execution_id)
        if outcome.pending or outcome.first_seq is None or outcome.last_seq is None:
            raise unavailable("The callback is recorded and not applied yet; send it again to hear what became of it")
        accepted, reason = await self._rows.was_accepted(execution_id, outcome.first_seq, outcome.last_seq)
        return await self._taken(RECEIVED if accepted else IGNORED, execution_id, reason)

    async def _late(self, signal: SendSignal) -> Taken:
        """The execution has ended: what comes now changes nothing, and is the last its log tells."""
        told: dict[str, Any] = signal.payload
        if any(_is_equal(known, told) for known in await self._rows.accepted_callbacks(signal.execution_id)):
            return await self._taken(REPEATED, signal.execution_id)
        position = await self._rows.position(signal.execution_id)
        reason = "session completed" if position.status == Status.SUCCEEDED else "session error"
        count, is_known = await self._rows.late_callbacks(signal.execution_id, told["digest"], told["step"])
        if not is_known and count < MAX_LATE:
            event = ignored(told, reason, signal.sent_by)
            await self._rows.keep_late(signal.execution_id, signal.tenant_id, told, event, signal.trace_id)
        return Taken(status=IGNORED, position=position, reason=reason)

    async def _taken(self, status: Became, execution_id: UUID, reason: str = "") -> Taken:
        return Taken(status=status, position=await self._rows.position(execution_id), reason=reason)


def _signal(
    execution_id: UUID, target: CallbackTarget, callback: Callback, callback_id: str, proved: Proved, trace_id: str
) -> SendSignal:
    place = proved.place
    told = {
        **msgspec.to_builtins(callback.answer),
        "step": callback.step,
        "digest": callback.answer.digest,
        "callback_id": callback_id,
        **({"task_id": place.task_id, "attempt": place.attempt} if place is not None else {}),
    }
    key = None
    if callback_id:
        key = f"callback:{callback_id}"
    elif place is not None:
        key = f"callback:{place.task_id}:{place.attempt}:{callback.answer.digest}"
    return SendSignal(
        execution_id=ExecutionId(execution_id),
        tenant_id=target.tenant_id,
        kind=SignalKind.CALLBACK,
        sent_by=proved.by,
        trace_id=trace_id,
        name=callback.step,
        payload=told,
        dedupe_key=key,
        rest=REST_SECONDS,
    )


def _is_equal(known: AcceptedCallback, told: dict[str, Any]) -> bool:
    is_same_step = known.task_id == told.get("task_id") or told["step"] in (known.task_id, known.node_id)
    return is_same_step and known.digest == told["digest"]
