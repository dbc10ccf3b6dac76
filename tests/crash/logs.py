"""Checking the log in Postgres: numbers without gaps, results recorded once, one execution for each request."""

from __future__ import annotations

from collections.abc import Iterable

from crash.database import Observer
from crash.verdict import Verdict

GAPS = """
select execution_id, count(*), min(seq), max(seq) from interlock.events
group by execution_id having min(seq) <> 1 or max(seq) <> count(*)"""
DOUBLE_RESULTS = """
select execution_id, data ->> 'task_id', count(*) from interlock.events
where type = 'task.completed' group by 1, 2 having count(*) > 1"""
ENDS = """
select x.execution_id, x.status, count(e.*) from interlock.executions x
left join interlock.events e on e.execution_id = x.execution_id
  and e.type in ('execution.succeeded', 'execution.failed', 'execution.cancelled')
group by 1, 2 having count(e.*) <> (x.ended_at is not null)::int
  or (x.ended_at is not null and min(e.type) <> 'execution.' || x.status)"""
AFTER_THE_END = """
select e.execution_id, e.seq from interlock.events e join interlock.events t using (execution_id)
where t.type in ('execution.succeeded', 'execution.failed', 'execution.cancelled') and e.seq > t.seq
  and not (e.type = 'callback.received' and e.data ->> 'accepted' = 'false')"""
SHARED_REFERENCES = """
select input ->> 'ref', count(*) from interlock.executions
where input ->> 'ref' is not null group by 1 having count(*) > 1"""
LEFT_LIVE = """
select l.execution_id from interlock.live l join interlock.executions x using (execution_id)
where x.ended_at is not null
union all
select x.execution_id from interlock.executions x left join interlock.live l using (execution_id)
where x.ended_at is null and l.execution_id is null"""


async def check_log(observer: Observer, verdict: Verdict) -> None:
    """Everything that must be true of any log at any time."""
    verdict.expect_none("event numbers have no gap", map(_text, await observer.fetch(GAPS)))
    verdict.expect_none("no task result was recorded twice", map(_text, await observer.fetch(DOUBLE_RESULTS)))
    verdict.expect_none("status and last event agree, one end each", map(_text, await observer.fetch(ENDS)))
    verdict.expect_none("nothing but late callbacks follows an end", map(_text, await observer.fetch(AFTER_THE_END)))
    verdict.expect_none("one execution for each request", map(_text, await observer.fetch(SHARED_REFERENCES)))
    verdict.expect_none("live rows are exactly the unfinished", map(_text, await observer.fetch(LEFT_LIVE)))


def _text(row: Iterable[object]) -> str:
    return " ".join(str(value) for value in row)
