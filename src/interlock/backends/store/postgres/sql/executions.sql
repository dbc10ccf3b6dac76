-- Executions, their events and artifacts, as their callers may see them. Run as authenticated, under claims.

-- name: execution
select x.execution_id, x.tenant_id, x.user_id, x.workflow_id, x.version_id, x.workflow_number, x.kind, x.status,
  x.waiting_reason, x.waiting_since, x.input, x.output, x.input_refs, x.output_refs, x.error, x.mode, x.started_by, x.parent_id, x.root_id,
  x.trace_id, x.metadata, x.created_at, x.updated_at, x.ended_at,
  (select coalesce(max(e.seq), 0) from interlock.events e where e.execution_id = x.execution_id) as last_seq,
  l.execution_id is not null and l.owner is null as is_unowned, l.wake_at
from interlock.executions x left join interlock.live l on l.execution_id = x.execution_id
where x.execution_id = $1;

-- name: chosen
-- The execution that was started under this name.
select execution_id from interlock.keys
where tenant_id = (select interlock.tenant()) and scope = $1 and key = $2;

-- name: list_executions
-- $1 workflow, $2 statuses (none: all), $3 kind, $4 only older than this one, $5 limit, $6 offset; of the failed ones
-- those whose error has code $7 ($8 true), the others ($8 false), or all ($8 null). Newest first.
select x.execution_id, x.tenant_id, x.user_id, x.workflow_id, x.version_id, x.workflow_number, x.kind, x.status,
  x.waiting_reason, x.waiting_since, x.input, x.output, x.input_refs, x.output_refs, x.error, x.mode, x.started_by, x.parent_id, x.root_id,
  x.trace_id, x.metadata, x.created_at, x.updated_at, x.ended_at,
  (select coalesce(max(e.seq), 0) from interlock.events e where e.execution_id = x.execution_id) as last_seq,
  l.execution_id is not null and l.owner is null as is_unowned, l.wake_at
from (
  select * from interlock.executions
  where tenant_id = (select interlock.tenant())
    and ($1::uuid is null or workflow_id = $1)
    and (cardinality($2::text[]) = 0 or status = any ($2))
    and ($8::bool is null or status <> 'failed' or (error ->> 'code' is not distinct from $7) = $8)
    and ($3::text is null or kind = $3)
    and ($4::uuid is null or execution_id < $4)
  order by execution_id desc limit $5 offset $6
) x
left join interlock.live l on l.execution_id = x.execution_id
order by x.execution_id desc;

-- name: count_executions
-- $4: count no further; $5 and $6 as $7 and $8 above.
select count(*) from (
  select from interlock.executions
  where tenant_id = (select interlock.tenant())
    and ($1::uuid is null or workflow_id = $1)
    and (cardinality($2::text[]) = 0 or status = any ($2))
    and ($6::bool is null or status <> 'failed' or (error ->> 'code' is not distinct from $5) = $6)
    and ($3::text is null or kind = $3)
  limit $4
) counted;

-- name: latest_executions
-- The newest one of each workflow.
select x.execution_id, x.tenant_id, x.user_id, x.workflow_id, x.version_id, x.workflow_number, x.kind, x.status,
  x.waiting_reason, x.waiting_since, x.input, x.output, x.input_refs, x.output_refs, x.error, x.mode, x.started_by, x.parent_id, x.root_id,
  x.trace_id, x.metadata, x.created_at, x.updated_at, x.ended_at,
  (select coalesce(max(e.seq), 0) from interlock.events e where e.execution_id = x.execution_id) as last_seq,
  l.execution_id is not null and l.owner is null as is_unowned, l.wake_at
from (select distinct unnest($1::uuid[]) as workflow_id) wanted
cross join lateral (
  select * from interlock.executions n
  where n.workflow_id = wanted.workflow_id order by n.execution_id desc limit 1
) x
left join interlock.live l on l.execution_id = x.execution_id;

-- name: events
select seq, type, data, refs, at, trace_id from interlock.events
where execution_id = $1 and seq > $2 order by seq limit $3;

-- name: events_naming
select seq, type, data, refs, at, trace_id from interlock.events
where execution_id = $1 and (position($2 in data::text) > 0 or position($2 in refs::text) > 0)
order by seq limit $3;

-- name: artifacts
select name, task_id, sha256, size, content_type, created_at from interlock.artifacts
where execution_id = $1 order by name;

-- name: last_seqs
select x.execution_id,
  (select coalesce(max(e.seq), 0) from interlock.events e where e.execution_id = x.execution_id) as last_seq
from interlock.executions x where x.execution_id = any ($1::uuid[]);

-- name: living_seqs
-- $1 workflow, $2 kind, $3 at most so many.
select x.execution_id,
  (select coalesce(max(e.seq), 0) from interlock.events e where e.execution_id = x.execution_id) as last_seq
from interlock.executions x
where x.tenant_id = (select interlock.tenant())
  and x.status not in ('succeeded', 'failed', 'cancelled')
  and ($1::uuid is null or x.workflow_id = $1)
  and ($2::text is null or x.kind = $2)
order by x.execution_id desc limit $3;

-- name: executions_among
-- $1 ids, $2 workflow, $3 kind.
select x.execution_id, x.tenant_id, x.user_id, x.workflow_id, x.version_id, x.workflow_number, x.kind, x.status,
  x.waiting_reason, x.waiting_since, x.input, x.output, x.input_refs, x.output_refs, x.error, x.mode, x.started_by, x.parent_id, x.root_id,
  x.trace_id, x.metadata, x.created_at, x.updated_at, x.ended_at,
  (select coalesce(max(e.seq), 0) from interlock.events e where e.execution_id = x.execution_id) as last_seq,
  false as is_unowned, null::timestamptz as wake_at
from interlock.executions x
where x.execution_id = any ($1::uuid[])
  and ($2::uuid is null or x.workflow_id = $2)
  and ($3::text is null or x.kind = $3)
order by x.execution_id;

-- name: log_lines
-- $1 execution, $2 tasks (null: all), $3 behind this number, $4 at most so many.
select number, task_id, attempt, stream, content, at from interlock.task_logs
where execution_id = $1 and ($2::text[] is null or task_id = any ($2)) and number > $3
order by number limit $4;
