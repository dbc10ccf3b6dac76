"""C6: yes, no, the deadline and a cancellation reach one approval in the same moment."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from crash.client import APP, Answer, Lost
from crash.clock import wall
from crash.judge import check_common
from crash.stage import Stage
from crash.workflows import race

TITLE = "approve, deny, deadline and cancel at once"
AT_ONCE = 20
TIMEOUT = 3
SPACING = 0.15
"""Seconds between two races."""
TOGETHER = 0.004
"""Seconds around one moment in which all racers of a race move."""
AROUND = (-0.010, 0.018)
"""Seconds after and before the deadline between which that moment lies: now this racer is ahead, now that one."""
HEAD_START = {"approve": 0.0, "deny": 0.0, "cancel": 0.002}
"""Seconds a request is sent earlier because its way to the row is longer."""
ROWS = """
select a.execution_id::text, a.status, x.status as ended, count(e.*) as decisions, min(e.data ->> 'status') as told
from interlock.approvals a join interlock.executions x using (execution_id)
left join interlock.events e on e.execution_id = a.execution_id and e.type = 'approval.decided'
group by 1, 2, 3"""
WAYS = {"approved": "confirmed", "denied": "rejected", "expired": "timeout"}


@dataclass
class Race:
    """One approval and what each racer was answered."""

    execution_id: str
    approval_id: str
    expires_at: float
    answers: dict[str, Answer] = field(default_factory=dict)


async def run(stage: Stage) -> None:
    """Races over two servers, so that hints and rows cross processes."""
    verdict = stage.verdict
    for name in ("one", "two"):
        await stage.add_server(name)
    workflow_id = await stage.store(race(stage.sink, TIMEOUT))
    seats = asyncio.Semaphore(AT_ONCE)
    running: list[asyncio.Task[Race]] = []
    for number in range(stage.scale.c6_races):
        await seats.acquire()
        running.append(asyncio.create_task(_race(stage, workflow_id, f"race-{number}")))
        running[-1].add_done_callback(lambda _: seats.release())
        await asyncio.sleep(SPACING)  # a crowd at one moment would only race for the processor
    races = await asyncio.gather(*running)
    drain = await stage.drain()
    await _judge(stage, races)
    await check_common(stage)
    verdict.figures["drain_s"] = round(drain, 2)


async def _prepare(stage: Stage, workflow_id: str, ref: str) -> Race:
    execution_id = await stage.start(workflow_id, ref, wait_ms=5000)
    path = f"{APP}/approvals?status=pending&execution_id={execution_id}"
    answer = await stage.client.insist(stage.running, "GET", path)
    if not answer.body["approvals"]:
        raise RuntimeError(f"{ref} asks nobody: {await stage.observer.tails([UUID(execution_id)])}")
    found = answer.body["approvals"][0]
    return Race(execution_id, found["approval_id"], datetime.fromisoformat(found["expires_at"]).timestamp())


async def _race(stage: Stage, workflow_id: str, ref: str) -> Race:
    """Everybody moves in the same few milliseconds, around the deadline."""
    one = await _prepare(stage, workflow_id, ref)
    urls = stage.running()
    stage.random.shuffle(urls)
    decide, cancel = f"{APP}/approvals/{one.approval_id}/decide", f"{APP}/executions/{one.execution_id}/cancel"
    moment = one.expires_at - stage.random.uniform(*AROUND)
    await asyncio.gather(
        _move(stage, one, "approve", moment, urls[0], decide, {"decision": "approve"}),
        _move(stage, one, "deny", moment, urls[1], decide, {"decision": "reject"}),
        _move(stage, one, "cancel", moment, urls[stage.random.randrange(2)], cancel, {}),
    )
    return one


async def _move(stage: Stage, one: Race, name: str, moment: float, url: str, path: str, body: dict[str, str]) -> None:
    at = moment - HEAD_START[name] + stage.random.uniform(-TOGETHER, TOGETHER)
    await asyncio.sleep(max(0.0, at - wall()))
    try:
        one.answers[name] = await stage.client.call(url, "POST", path, body)
    except Lost as error:
        stage.client.surprises.append(f"{name} of {one.approval_id}: {error}")


async def _judge(stage: Stage, races: list[Race]) -> None:
    verdict, effects = stage.verdict, stage.effects()
    rows = {row["execution_id"]: row for row in await stage.observer.fetch(ROWS)}
    winners: Counter[str] = Counter()
    wrong: list[str] = []
    for one in races:
        row = rows[one.execution_id]
        winners[row["status"]] += 1
        wrong += [f"{one.execution_id}: {reason}" for reason in _contradictions(one, dict(row))]
        done = {step for execution_id, step in effects.by_step if execution_id == one.execution_id}
        if done - {WAYS.get(row["status"], "")}:
            wrong.append(f"{one.execution_id}: {row['status']}, and yet {done} happened outside")
        if row["ended"] == "succeeded" and done != {WAYS.get(row["status"], "")}:
            wrong.append(f"{one.execution_id}: succeeded as {row['status']} without its effect")
    verdict.injections["races"] = len(races)
    verdict.counts |= {f"won_{status}": count for status, count in sorted(winners.items())}
    verdict.expect_none("one decision each, and all accounts agree on it", wrong)
    verdict.prove(
        "different racers won, the deadline among them", len(winners) >= 3 and "expired" in winners, dict(winners)
    )
    verdict.prove("each race was run", len(races) == stage.scale.c6_races, len(races))


def _contradictions(one: Race, row: dict[str, str | int]) -> list[str]:
    """Answers and events that do not fit the row."""
    status, found = row["status"], []
    if status == "pending":
        found.append("still pending")
    if row["decisions"] not in ((0, 1) if status == "cancelled" else (1,)):
        # a cancellation may also end the execution before a decision made earlier was folded
        if not (row["ended"] == "cancelled" and row["decisions"] == 0):
            found.append(f"{row['decisions']} decisions were recorded for {status}")
    if row["decisions"] and row["told"] != status:
        found.append(f"the log says {row['told']}, the row says {status}")
    for name, wins in (("approve", "approved"), ("deny", "denied")):
        answer = one.answers.get(name)
        if answer is None:
            continue
        if (answer.status == 200) != (status == wins):
            found.append(f"{name} was answered {answer.status} {answer.body} for {status}")
        elif answer.status not in (200, 404, 409, 410):
            found.append(f"{name} was answered {answer.status}")
    cancelled = one.answers.get("cancel")
    if cancelled is not None and cancelled.status == 200 and cancelled.body["success"] and row["ended"] != "cancelled":
        found.append(f"the cancellation was confirmed, and yet it {row['ended']}")
    return found
