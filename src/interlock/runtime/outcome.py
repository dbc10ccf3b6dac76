"""What became of a signal: stored in its row together with the events it caused, for whoever waits in any process."""

from __future__ import annotations

from typing import Any

import msgspec

from interlock.core.engine.flow.standing import FlowStanding, flow_standing
from interlock.core.engine.turn import Turn
from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.events import FlowTransitioned
from interlock.core.execution import ENDED, Status, WaitingReason
from interlock.ports.engine import SignalOutcome

_AT_REST = ENDED | {Status.WAITING, Status.PAUSED}


def outcome_of(turn: Turn, first: int) -> dict[str, Any]:
    """What is written on the inbox row that caused a turn; ``first`` is the number its first event would have."""
    if turn.refusal is not None:
        refusal = turn.refusal
        return {
            "refused": {
                "kind": str(refusal.kind),
                "code": refusal.code,
                "message": refusal.message,
                "details": refusal.details,
            }
        }
    rests = turn.execution.status in _AT_REST and turn.execution.waiting_reason is not WaitingReason.RETRY_AT
    flow = flow_standing(turn.execution) if rests else None
    is_quiet = flow is not None and flow.result is None and not flow.artifacts
    return {
        **({"flow": flow} if is_quiet else {}),  # what nodes said may be large, and is in the log
        "first_seq": first if turn.events else None,
        "last_seq": turn.execution.seq if turn.events else None,
        "status": str(turn.execution.status),
        "moved": any(type(event) is FlowTransitioned for event in turn.events),
    }


def read_outcome(inbox_seq: int, outcome: dict[str, Any] | None) -> SignalOutcome:
    """The outcome for the waiter; None means not folded in time. Raises what the engine refused with."""
    if outcome is None:
        return SignalOutcome(inbox_seq=inbox_seq, pending=True)
    refused = outcome.get("refused")
    if refused is not None:
        raise InterlockError(
            ErrorKind(refused["kind"]), refused["code"], refused["message"], details=refused["details"]
        )
    return SignalOutcome(
        inbox_seq=inbox_seq,
        first_seq=outcome["first_seq"],
        last_seq=outcome["last_seq"],
        status=outcome["status"],
        flow=_flow(outcome.get("flow")),
    )


def _flow(found: Any) -> FlowStanding | None:
    """The standing as it was put in, or as it was read back."""
    return msgspec.convert(found, FlowStanding) if isinstance(found, dict) else found
