"""Where a flow stands, as a plain value: what whoever moved it is told."""

from __future__ import annotations

from typing import Any

import msgspec

from interlock.core.engine.flow.program import FlowProgram
from interlock.core.execution import Execution


class FlowStanding(msgspec.Struct, frozen=True, kw_only=True):
    """A flow after event number ``seq``; result, form and artifacts are those since the last signal."""

    seq: int
    status: str
    waiting_reason: str | None
    active: tuple[str, ...]
    valid_events: tuple[str, ...]
    result: Any = None
    ui_schema: Any = None
    artifacts: dict[str, Any] = {}


def flow_standing(execution: Execution) -> FlowStanding | None:
    """How a flow stands; None for an execution of another kind. An ended one has no valid events."""
    program = execution.program
    if not isinstance(program, FlowProgram):
        return None
    shown = execution.shown
    return FlowStanding(
        seq=execution.seq,
        status=str(execution.status),
        waiting_reason=execution.waiting_reason,
        active=tuple(execution.active),
        valid_events=() if execution.ended is not None else program.flow.valid_events(execution.active),
        result=shown.result,
        ui_schema=shown.ui_schema,
        artifacts=dict(shown.artifacts),
    )


def missing_at_joins(execution: Execution) -> tuple[str, ...]:
    """The states that fan-ins of the active ones still wait for."""
    program = execution.program
    if not isinstance(program, FlowProgram):
        return ()
    joins = {join.index: join for name in execution.active for join in program.flow.states[name].joins}
    return tuple(
        dict.fromkeys(
            name for join in joins.values() for name in join.source if name not in execution.joined.get(join.index, ())
        )
    )
