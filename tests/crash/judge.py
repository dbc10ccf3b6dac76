"""Comparing the three accounts: promises to clients, the log, and what happened outside."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from crash.children import check_children
from crash.folding import check_folds
from crash.load import Load, Promise
from crash.logs import check_log
from crash.ownership import check_ownership
from crash.stage import Stage
from crash.stuck import check_stuck

OUTCOMES = """
select execution_id, status, coalesce(input ->> 'ref', metadata #>> '{session,session_id}') as ref
from interlock.executions"""
RECORDED = """
select execution_id::text, data ->> 'node_id' as node, count(*) from interlock.events
where type = 'task.completed' group by 1, 2"""


async def check_promises(stage: Stage, promises: Sequence[Promise], wanted: str = "succeeded") -> None:
    """Every acknowledged start is an execution of its own that ended as it should."""
    rows = await stage.observer.fetch(OUTCOMES)
    by_id = {str(row["execution_id"]): row for row in rows}
    lost = [promise.execution_id for promise in promises if promise.execution_id not in by_id]
    found = [(promise, by_id[promise.execution_id]) for promise in promises if promise.execution_id in by_id]
    mixed = [promise.ref for promise, row in found if row["ref"] != promise.ref]
    unended = [f"{promise.execution_id} {row['status']}" for promise, row in found if row["status"] != wanted]
    ids = [promise.execution_id for promise in promises]
    verdict = stage.verdict
    for name, count in (("acked", len(promises)), ("lost", len(lost)), ("duplicated", len(ids) - len(set(ids)))):
        verdict.counts[name] = verdict.counts.get(name, 0) + count
    verdict.expect_none("no promised execution is missing", lost)
    verdict.expect_none("each answer names the execution of its own request", mixed)
    verdict.expect_none(f"every promised execution {wanted}", unended)
    verdict.expect("no two promises are one execution", len(ids) == len(set(ids)), len(ids) - len(set(ids)))


async def check_steps(stage: Stage, promises: Sequence[Promise], steps: Sequence[str]) -> None:
    """Each step of each promised execution: one recorded result, one effect key, and really done outside."""
    await check_done(stage, [(promise.execution_id, step) for promise in promises for step in steps])


async def check_done(stage: Stage, wanted: Sequence[tuple[str, str]]) -> None:
    """The same for pairs of an execution and a step."""
    effects, verdict = stage.effects(), stage.verdict
    rows = await stage.observer.fetch(RECORDED)
    recorded = {(row[0], row[1]): row[2] for row in rows}
    verdict.expect_none("each step was recorded exactly once", (w for w in wanted if recorded.get(w) != 1))
    verdict.expect_none("each step happened outside", (w for w in wanted if w not in effects.by_step))
    verdict.expect_none("all attempts of a step carry one effect key", effects.with_several_keys())
    verdict.expect_none("no two steps share an effect key", effects.shared_keys())
    verdict.counts["steps"] = verdict.counts.get("steps", 0) + len(wanted)
    verdict.counts["repeated_calls"] = effects.repeats()


async def check_load(stage: Stage, load: Load) -> None:
    """Every start of a load was acknowledged and ended as it should."""
    stage.verdict.expect_none("every start was promised in the end", load.given_up)
    await check_promises(stage, load.promises)


async def check_common(stage: Stage, *, errors_were_injected: bool = False) -> None:
    """What must be true after any scenario. An error that was raised on purpose may show as an internal error."""
    for check in (check_log, check_children, check_folds, check_stuck, check_ownership):
        await check(stage.observer, stage.verdict)
    if not errors_were_injected:
        stage.verdict.expect_none("no answer was an internal error", stage.client.surprises)


def ids_of(promises: Sequence[Promise]) -> list[UUID]:
    """The promised executions."""
    return [UUID(promise.execution_id) for promise in promises]
