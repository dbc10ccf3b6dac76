"""A9: cancelling in every condition an execution can be in: nothing begins after the answer, what ran dies soon."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from uuid import UUID

from crash.client import APP
from crash.clock import steady, wall
from crash.judge import check_common
from crash.stage import Stage
from crash.verdict import percentile
from crash.workflows import chain, resting

TITLE = "cancel while queued, running, waiting and backing off"
SLOTS = 4
KINDS = ("timer", "signal", "approval", "retry")
HOLD = 120.0
KILL_SECONDS = 5.0
PATIENCE = 30.0
CONDITIONS = {"queued", "running", "waiting timer", "waiting signal", "waiting approval", "waiting retry_at"}
WHERE = "select status, waiting_reason from interlock.executions where execution_id = $1"
OPEN_APPROVALS = """
select a.approval_id from interlock.approvals a join interlock.executions x using (execution_id)
where a.status = 'pending' and x.ended_at is not null"""


@dataclass
class Cancelled:
    """One execution and the answers to its cancellation."""

    execution_id: str
    condition: str
    acknowledged_at: float = 0.0
    pending: int = 0
    statuses: list[str] = field(default_factory=list)


async def run(stage: Stage) -> None:
    """Bring executions into each condition, cancel all at once, twice each, at any server."""
    verdict = stage.verdict
    for name in ("one", "two"):
        await stage.add_server(name, slots=str(SLOTS))
    started = await _start_all(stage)
    cancelled = [Cancelled(execution_id, await _condition(stage, execution_id)) for execution_id in started]
    stage.random.shuffle(cancelled)
    for first in range(0, len(cancelled), 20):
        await asyncio.gather(*(_cancel(stage, one) for one in cancelled[first : first + 20]))
    drain = await stage.drain()
    await _judge(stage, cancelled)
    await check_common(stage)

    found = Counter(one.condition for one in cancelled)
    verdict.injections |= {name.replace(" ", "_"): count for name, count in sorted(found.items())}
    verdict.figures["drain_s"] = round(drain, 2)
    verdict.prove("every condition was met", set(found) >= CONDITIONS, dict(found))


async def _start_all(stage: Stage) -> list[str]:
    """Resting ones first, which take no slot; then running ones in all slots; then queued ones."""
    each = max(2, stage.scale.a9_cancels // (len(KINDS) + 2))
    started = []
    for kind in KINDS:
        workflow_id = await stage.store(resting(stage.sink, kind))
        started += await _start(stage, workflow_id, kind, each)

    async def is_at_rest() -> bool:
        return set(await stage.observer.statuses()) == {"waiting"} and not await stage.observer.value(
            "select count(*) from interlock.live where owner is not null"
        )

    await stage.until("all of them rest", is_at_rest, 30)
    held = await stage.store(chain(stage.sink, 2, HOLD))
    return started + await _start(stage, held, "held", max(2 * each, 3 * SLOTS))


async def _start(stage: Stage, workflow_id: str, kind: str, count: int) -> list[str]:
    return list(await asyncio.gather(*(stage.start(workflow_id, f"{kind}-{number}") for number in range(count))))


async def _condition(stage: Stage, execution_id: str) -> str:
    rows = await stage.observer.fetch(WHERE, UUID(execution_id))
    status, reason = rows[0]
    return f"{status} {reason}" if status == "waiting" else str(status)


async def _cancel(stage: Stage, one: Cancelled) -> None:
    """Cancel until it is confirmed, and once more. From the first answer on nothing may begin."""
    path = f"{APP}/executions/{one.execution_id}/cancel"
    until = steady() + PATIENCE
    while len(one.statuses) < 2:
        answer = await stage.client.insist(stage.running, "POST", path, {"reason": "the suite"})
        one.acknowledged_at = one.acknowledged_at or wall()
        if answer.status == 200 and answer.body.get("pending") and steady() < until:
            one.pending += 1
        else:
            one.statuses.append(str(answer.body.get("status")) if answer.status == 200 else f"HTTP {answer.status}")


async def _judge(stage: Stage, cancelled: list[Cancelled]) -> None:
    verdict, effects = stage.verdict, stage.effects()
    late, alive, dying = [], [], []
    for one in cancelled:
        for call in (effect for effect in effects.all if effect.execution == one.execution_id):
            if call.arrived_at > one.acknowledged_at:
                late.append(f"{call.execution}/{call.step} {call.arrived_at - one.acknowledged_at:.3f} s later")
            if call.left_at is not None:
                dying.append(max(0.0, call.left_at - one.acknowledged_at))
            elif call.answered_at is None:
                alive.append(f"{call.execution}/{call.step}")
    wrong = [f"{one.execution_id} {one.statuses}" for one in cancelled if set(one.statuses) != {"CANCELED"}]
    statuses = await stage.observer.statuses()
    verdict.counts |= {
        "cancelled": statuses.get("cancelled", 0),
        "calls_ended": len(dying),
        "answers_still_cancelling": sum(one.pending for one in cancelled),
    }
    verdict.figures["kill_p95_s"] = round(percentile(dying, 0.95), 3)
    verdict.figures["kill_max_s"] = round(max(dying, default=0.0), 3)
    verdict.expect_none("no effect begins after the answer", late)
    verdict.expect_none("every running call was ended", alive)
    verdict.expect("and within 5 s", max(dying, default=0.0) <= KILL_SECONDS, max(dying, default=0.0))
    verdict.expect_none("both answers say cancelled", wrong)
    verdict.expect("all ended as cancelled", set(statuses) == {"cancelled"}, statuses)
    left = await stage.observer.fetch(OPEN_APPROVALS)
    verdict.expect_none("no approval of an ended execution is open", (row[0] for row in left))
    verdict.prove("calls were running when they were cancelled", len(dying) >= SLOTS, len(dying))
