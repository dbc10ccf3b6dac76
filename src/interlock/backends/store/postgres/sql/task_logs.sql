-- The log of tasks, as it is written. Run as interlock_engine.

-- name: add
-- $1 execution, $2 tenant (empty: only the execution is known), $3 task, $4 attempt, $5 streams and $6 texts in their order, $7 their bytes, $8 how many
-- bytes one task may have, $9 what says that there was more.
with used as (
  select coalesce(sum(octet_length(content)), 0) as bytes from interlock.task_logs
  where execution_id = $1 and task_id = $3
), parts as (
  select p.stream, p.content, p.place,
    sum(octet_length(p.content)) over (order by p.place) - octet_length(p.content) as before
  from unnest($5::text[], $6::text[]) with ordinality as p (stream, content, place)
), told as (
  select stream, content, place from parts cross join used where bytes + before < $8::bigint
  union all
  select 'stderr', $9::text, 2147483647 from used where bytes < $8 and bytes + $7::bigint >= $8
)
insert into interlock.task_logs (execution_id, tenant_id, private_to, task_id, attempt, stream, content)
select x.execution_id, x.tenant_id, case when x.visibility = 'private' then x.user_id end, $3, $4, t.stream, t.content
from interlock.executions x cross join told t
where x.execution_id = $1 and $2::text in ('', x.tenant_id)
order by t.place;
