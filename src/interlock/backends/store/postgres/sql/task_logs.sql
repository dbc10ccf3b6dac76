-- The log of tasks. `add` is run as interlock_engine, the rest as authenticated, under claims.

-- name: add
-- $1 execution, $2 tenant (empty: only the execution is known), $3 task, $4 attempt, $5 streams and $6 texts in their order, $7 their bytes, $8 how many
-- bytes one task may have, $9 what says that there was more.
with used as (
  select coalesce(sum(octet_length(content)), 0) as bytes from interlock.task_logs
  where execution_id = $1 and task_id = $3
), parts as (
  select p.stream, p.content, p.place from unnest($5::text[], $6::text[]) with ordinality as p (stream, content, place)
  union all
  select 'stderr', $9::text, 2147483647 from used where bytes + $7::bigint >= $8::bigint
)
insert into interlock.task_logs (execution_id, tenant_id, private_to, task_id, attempt, stream, content)
select x.execution_id, x.tenant_id, case when x.visibility = 'private' then x.user_id end, $3, $4, p.stream, p.content
from interlock.executions x cross join used cross join parts p
where x.execution_id = $1 and $2::text in ('', x.tenant_id) and used.bytes < $8
order by p.place;

-- name: lines
-- $1 execution, $2 tasks (null: all), $3 behind this number, $4 at most so many.
select number, task_id, attempt, stream, content, at from interlock.task_logs
where execution_id = $1 and ($2::text[] is null or task_id = any ($2)) and number > $3
order by number limit $4;
