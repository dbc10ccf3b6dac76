-- Reading executions back. Run as interlock_engine.

-- name: executions
select x.execution_id, x.tenant_id, x.user_id, x.visibility, x.workflow_id, x.version_id, x.workflow_number, x.kind,
  x.root_id, x.trace_id, x.parent_id, x.metadata, l.owner, l.epoch, l.inbox_seq, l.priority,
  coalesce((select min(i.inbox_seq) - 1 from interlock.inbox i
    where i.execution_id = x.execution_id and i.outcome is null), l.inbox_seq) as folded,
  array(select c.execution_id from interlock.executions c join interlock.live using (execution_id)
    where c.parent_id = x.execution_id and c.execution_id > x.execution_id) as children  -- ids go by time
from interlock.executions x join interlock.live l using (execution_id)
where x.execution_id = any($1::uuid[]);

-- name: first_events
-- Of each execution the first $2 events.
select e.execution_id, e.seq, e.type, e.data, e.refs, e.at, e.trace_id
from unnest($1::uuid[]) as wanted(execution_id)
cross join lateral (
  select * from interlock.events own where own.execution_id = wanted.execution_id order by own.seq limit $2
) e
order by e.execution_id, e.seq;

-- name: more_events
select seq, type, data, refs, at, trace_id from interlock.events
where execution_id = $1 and seq > $2 order by seq limit $3;

-- name: version
select definition from interlock.versions where version_id = $1;

-- name: head_version
-- The newest version of a workflow of this tenant, by id or by name.
select w.workflow_id, w.version_id, w.number, w.kind, (v.definition -> 'settings' ->> 'timeout')::float as timeout
from interlock.workflows w join interlock.versions v using (version_id)
where w.tenant_id = $1 and w.deleted_at is null
  and (w.workflow_id::text = $2 or w.name = $2)
  and (w.visibility = 'tenant' or w.user_id = $3)
order by (w.workflow_id::text = $2) desc, w.updated_at desc limit 1;

-- name: key
select digest, execution_id, status, answer from interlock.keys where tenant_id = $1 and scope = $2 and key = $3;

-- name: answer_key
update interlock.keys set status = $4, answer = $5::json
where tenant_id = $1 and scope = $2 and key = $3 and answer is null;

-- name: purge_keys
-- Expired keys of ended executions, at most $1 of them.
delete from interlock.keys k where (k.tenant_id, k.scope, k.key) in (
  select e.tenant_id, e.scope, e.key from interlock.keys e
  where e.expires_at < interlock.now()
    and not exists (select from interlock.live l where l.execution_id = e.execution_id)
  order by e.expires_at limit $1);

-- name: status
select tenant_id, kind, status, waiting_reason, output, output_refs, error, created_at, ended_at, workflow_id, trace_id
from interlock.executions where execution_id = $1;

-- name: ensure_partitions
select interlock.ensure_partitions($1);

-- name: queue_ages
select coalesce(extract(epoch from interlock.now() - min(wake_at)), 0)::float as oldest, count(*) as due
from interlock.live where owner is null and wake_at <= interlock.now();
