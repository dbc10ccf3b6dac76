"""Checking parents and children: who began whom, who was told of whose end, and what a parent made of it."""

from __future__ import annotations

from crash.database import Observer
from crash.verdict import Verdict

BEGUN = """
with begun as (
  select execution_id as parent_id, data ->> 'task_id' as task_id, (data ->> 'child_id')::uuid as child_id
  from interlock.events where type = 'task.started' and data ->> 'child_id' is not null
)
"""
SEVERAL_CHILDREN = f"{BEGUN} select parent_id, task_id, count(*) from begun group by 1, 2 having count(*) > 1"
NEVER_BORN = f"""{BEGUN}
select b.parent_id, b.task_id, b.child_id from begun b
left join interlock.executions x on x.execution_id = b.child_id and x.parent_id = b.parent_id
where x.execution_id is null"""
FOUNDLINGS = f"""{BEGUN}
select x.execution_id, x.parent_id, e.data ->> 'parent' from interlock.executions x
left join interlock.events e on e.execution_id = x.execution_id and e.seq = 1
left join begun b on b.child_id = x.execution_id and b.parent_id = x.parent_id
  and b.parent_id::text = e.data -> 'parent' ->> 'execution_id' and b.task_id = e.data -> 'parent' ->> 'task_id'
where (x.parent_id is not null or e.data -> 'parent' is not null) and b.child_id is null"""
NOT_TOLD = f"""{BEGUN}
select b.parent_id, b.task_id, b.child_id, p.status, count(i.*) from begun b
join interlock.executions x on x.execution_id = b.child_id and x.ended_at is not null
join interlock.executions p on p.execution_id = b.parent_id and (p.ended_at is null or p.status = 'succeeded')
left join interlock.inbox i on i.execution_id = b.parent_id and i.dedupe_key = 'child:' || b.child_id
  and i.kind = 'child_ended' and i.payload ->> 'task_id' = b.task_id and i.payload ->> 'status' = x.status
  and (p.ended_at is null or (i.outcome is not null and i.outcome -> 'refused' is null))
group by 1, 2, 3, 4 having count(i.*) <> 1"""
OTHER_RESULTS = f"""{BEGUN}
select b.parent_id, b.task_id, b.child_id, x.status, e.type from begun b
join interlock.executions x on x.execution_id = b.child_id
join interlock.events e on e.execution_id = b.parent_id and e.data ->> 'task_id' = b.task_id
where (e.type = 'task.completed' and (x.status <> 'succeeded'
    or coalesce((e.data -> 'output')::jsonb, 'null') <> coalesce(x.output::jsonb, 'null')))
  or (e.type = 'task.failed' and x.status = 'succeeded')"""
COUNT = f"{BEGUN} select count(*) from begun"


async def check_children(observer: Observer, verdict: Verdict) -> None:
    """One child for each task that waits for one, told of once; what it gave is the task's result."""
    for name, statement in (
        ("no task began two children", SEVERAL_CHILDREN),
        ("every child that a log names exists", NEVER_BORN),
        ("every child is named by the log of its parent", FOUNDLINGS),
        ("the end of each child reached its parent once", NOT_TOLD),
        ("what a child gave is the result of its task", OTHER_RESULTS),
    ):
        found = await observer.fetch(statement)
        verdict.expect_none(name, (" ".join(map(str, row)) for row in found))
    verdict.counts["children"] = verdict.counts.get("children", 0) + int(await observer.value(COUNT))
