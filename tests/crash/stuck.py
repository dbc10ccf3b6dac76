"""Finding executions that have not ended and that nothing will ever move again."""

from __future__ import annotations

from crash.database import Observer
from crash.verdict import Verdict

PATIENCE = "20 s"
"""How long a dead owner may keep, or a due execution wait for, what others should take: longer than any lease."""
STUCK = """
with looked as (
  select x.execution_id, x.status, x.waiting_reason, case
    when l.execution_id is null then 'it is in no queue'
    when l.owner is not null and r.runner_id is null then 'its owner is gone'
    when r.seen_at < interlock.now() - $1::text::interval then 'its owner is silent'
    when exists (select from interlock.inbox i where i.execution_id = x.execution_id and i.outcome is null
      and i.received_at < interlock.now() - $1::text::interval) then 'nobody reads its inbox'
    when p.ended_at < interlock.now() - $1::text::interval then 'its parent has ended'
    when exists (select from interlock.events b join interlock.events t using (execution_id)
      where b.execution_id = x.parent_id and b.data ->> 'child_id' = x.execution_id::text
        and t.data ->> 'task_id' = b.data ->> 'task_id' and t.at < interlock.now() - $1::text::interval
        and (t.type = 'task.completed' or t.type = 'task.failed' and t.data -> 'will_retry' is null))
      then 'the task that waits for it is over'
    when l.owner is not null then null
    when l.wake_at < interlock.now() - $1::text::interval then 'it is due and nobody claims it'
    when l.wake_at is not null then null
    when exists (select from interlock.inbox i where i.execution_id = x.execution_id and i.outcome is null)
      then 'nobody will read its inbox'
    when x.waiting_reason = 'child' and not exists (
      select from interlock.executions c where c.parent_id = x.execution_id and c.ended_at is null)
      then 'its children have ended'
    when x.waiting_reason = 'approval' and not exists (
      select from interlock.approvals a where a.execution_id = x.execution_id and a.status = 'pending')
      then 'its approval is decided'
    when x.waiting_reason is null or x.waiting_reason in ('slot', 'tenant_cap', 'timer', 'retry_at')
      then 'nobody owns it and nothing will wake it'
  end as reason
  from interlock.executions x
  left join interlock.live l using (execution_id)
  left join interlock.executions p on p.execution_id = x.parent_id
  left join interlock.runners r on r.runner_id = l.owner
  where x.ended_at is null
)
select execution_id, status, waiting_reason, reason from looked where reason is not null order by execution_id"""

OPEN = """
select a.approval_id, a.execution_id, x.status
from interlock.approvals a join interlock.executions x using (execution_id)
where a.status = 'pending' and x.ended_at is not null order by a.approval_id"""


async def check_stuck(observer: Observer, verdict: Verdict) -> None:
    """Whatever has not ended has a living owner, a time to wake, or rests on somebody outside."""
    found = await observer.fetch(STUCK, PATIENCE)
    verdict.expect_none(
        "nothing unfinished is left without owner or wake-up",
        (f"{row['execution_id']} {row['status']} {row['waiting_reason'] or ''}: {row['reason']}" for row in found),
    )
    open_ones = await observer.fetch(OPEN)
    verdict.expect_none(
        "no question is open whose execution has ended",
        (f"{row['approval_id']} of {row['execution_id']}, which has {row['status']}" for row in open_ones),
    )
