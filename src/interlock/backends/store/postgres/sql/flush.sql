-- The flush: many entries in one statement, so in one commit. It is put together from the blocks below, in this order,
-- those of a part only if the flush has rows for it: a part that is left out costs nothing. The `_result` blocks are
-- the columns of its answer. A runner that was reaped, or a flush that was done already, writes nothing.
-- The columns of events come as one text each, with chr(31) between the values and chr(30) for null.
-- Run as interlock_engine.

-- name: me
me as materialized (
  update interlock.journals set flushed = :number where runner_id = :runner_id and flushed = :number - 1 returning runner_id
)

-- name: me_unheard
-- Without the outbox: only as long as nobody in the house wants to hear of anything.
me as materialized (
  update interlock.journals set flushed = :number
  where runner_id = :runner_id and flushed = :number - 1
    and not exists (select from interlock.webhooks where is_active)
  returning runner_id
)

-- name: owned
owned as materialized (
  select l.execution_id, l.tenant_id, l.private_to
  from me, unnest(:touched::uuid[]) as t(execution_id) join interlock.live l using (execution_id)
  where l.owner is not distinct from :runner_id  -- by primary key: an index on owner would find all that is owned
)

-- name: starts
starts as materialized (
  select n.* from me, json_to_recordset(:starts::json) as n(
    execution_id uuid, tenant_id text, user_id text, visibility text, private_to text, workflow_id uuid,
    version_id uuid, workflow_number int, kind text, status text, waiting_reason text, input json, output json,
    input_refs json, output_refs json, error json, mode text, started_by text, parent_id uuid, root_id uuid, trace_id text, metadata json,
    at timestamptz, ended_at timestamptz, is_owned boolean, wake_at timestamptz, priority smallint,
    key_scope text, key text, key_digest text, key_expires_at timestamptz, entry_of uuid, needs_head boolean)
),
current as materialized (  -- what is started is still the newest version its starter may see
  select * from starts s where not s.needs_head or exists (
    select from interlock.workflows w
    where w.workflow_id = s.workflow_id and w.tenant_id = s.tenant_id and w.version_id = s.version_id
      and w.visibility = s.visibility and (w.visibility = 'tenant' or w.user_id = s.user_id)
      and w.deleted_at is null)
),
keyed as (
  insert into interlock.keys (tenant_id, scope, key, digest, execution_id, expires_at)
  select tenant_id, key_scope, key, key_digest, execution_id, key_expires_at from current where key is not null
  on conflict do nothing
  returning execution_id
),
accepted as materialized (  -- an entry is all or nothing: a start that is lost, or is not ours, takes its children along
  select * from starts where entry_of not in (
    select execution_id from starts where key is not null or needs_head
    except select execution_id from current where key is null
    except select execution_id from keyed)
  and entry_of in (select execution_id from starts union all select execution_id from owned)
),
new_executions as (
  insert into interlock.executions (execution_id, tenant_id, user_id, visibility, workflow_id, version_id,
    workflow_number, kind, status, waiting_reason, waiting_since, input, output, input_refs, output_refs, error, mode, started_by,
    parent_id, root_id, trace_id, metadata, created_at, updated_at, ended_at)
  select execution_id, tenant_id, user_id, visibility, workflow_id, version_id, workflow_number, kind, status,
    waiting_reason, case when waiting_reason is not null then at end, input, output, input_refs, output_refs, error, mode,
    started_by, parent_id, root_id, trace_id, metadata, at, at, ended_at
  from accepted
),
new_live as (
  insert into interlock.live (execution_id, tenant_id, private_to, owner, epoch, wake_at, priority, format)
  select execution_id, tenant_id, private_to, case when is_owned then :runner_id end, 1, wake_at, priority, :format
  from accepted where ended_at is null
)

-- name: sources
sources as materialized (
  select execution_id, tenant_id, private_to from owned
)

-- name: sources_with_starts
sources as materialized (
  select execution_id, tenant_id, private_to from owned
  union all
  select execution_id, tenant_id, private_to from accepted
)

-- name: events
new_events as (
  insert into interlock.events (execution_id, seq, tenant_id, private_to, type, data, refs, at, trace_id, format)
  select e.execution_id, e.seq, s.tenant_id, s.private_to, e.type, e.data::json, e.refs::json, e.at, e.trace_id, :format
  from unnest(string_to_array(:execution_ids, chr(31))::uuid[], string_to_array(:seqs, chr(31))::int[],
      string_to_array(:types, chr(31)), string_to_array(:data, chr(31)), string_to_array(:refs, chr(31), chr(30)),
      string_to_array(:at, chr(31))::timestamptz[], string_to_array(:trace_ids, chr(31)))
    as e(execution_id, seq, type, data, refs, at, trace_id)
  join sources s using (execution_id)
)

-- name: changes
changes as materialized (
  select c.* from json_to_recordset(:changes::json) as c(
    execution_id uuid, status text, waiting_reason text, output json, output_refs json, error json, at timestamptz,
    is_end boolean)
  join owned using (execution_id)
),
changed as (
  update interlock.executions x
  set status = c.status, waiting_reason = c.waiting_reason,
    waiting_since = case when c.waiting_reason is not null then c.at end,
    output = c.output, output_refs = c.output_refs, error = c.error, updated_at = c.at, ended_at = case when c.is_end then c.at end
  from changes c where x.execution_id = c.execution_id
),
ended as (
  delete from interlock.live l using changes c where c.is_end and l.execution_id = c.execution_id
)

-- name: parks
parked as (
  update interlock.live l set owner = null, wake_at = p.wake_at
  from me, json_to_recordset(:parks::json) as p(execution_id uuid, wake_at timestamptz, folded int)
  where l.execution_id = p.execution_id and l.owner = :runner_id and l.inbox_seq = p.folded
  returning l.execution_id
)

-- name: outcomes
outcomes as (
  update interlock.inbox i set outcome = o.outcome
  from json_to_recordset(:outcomes::json) as o(execution_id uuid, inbox_seq int, outcome json)
  join owned using (execution_id)
  where i.execution_id = o.execution_id and i.inbox_seq = o.inbox_seq
)

-- name: approvals
new_approvals as (
  insert into interlock.approvals (approval_id, execution_id, tenant_id, private_to, workflow_id, task_id, node_id,
    kind, interaction_type, title, description, request, fields, options, assignees, priority, reason_required,
    forbid_requester, requested_by, on_timeout, default_response, escalate_to, timeout, created_at, expires_at, status,
    decided_at)
  select a.approval_id, a.execution_id, s.tenant_id, s.private_to, a.workflow_id, a.task_id, a.node_id, a.kind,
    a.interaction_type, a.title, a.description, a.request, a.fields, a.options, a.assignees, a.priority,
    a.reason_required, a.forbid_requester, a.requested_by, a.on_timeout, a.default_response, a.escalate_to,
    a.expires_at - a.created_at, a.created_at, a.expires_at, coalesce(a.status, 'pending'), a.decided_at
  from json_to_recordset(:approvals::json) as a(
    approval_id uuid, execution_id uuid, workflow_id uuid, task_id text, node_id text, kind text,
    interaction_type text, title text, description text, request json, fields json, options text[],
    assignees text[], priority text, reason_required boolean, forbid_requester boolean, requested_by text,
    on_timeout text, default_response json, escalate_to text[], created_at timestamptz, expires_at timestamptz,
    status text, decided_at timestamptz)
  join sources s using (execution_id)
)

-- name: closings
closed as (
  update interlock.approvals a set status = 'cancelled', decided_at = c.at
  from json_to_recordset(:closings::json) as c(execution_id uuid, approval_id uuid, at timestamptz)
  join owned using (execution_id)
  where a.approval_id = c.approval_id and a.status = 'pending'
)

-- name: artifacts
new_artifacts as (
  insert into interlock.artifacts (execution_id, name, tenant_id, private_to, task_id, sha256, size, content_type,
    created_at)
  select f.execution_id, f.name, s.tenant_id, s.private_to, f.task_id, f.sha256, f.size, f.content_type, f.at
  from json_to_recordset(:artifacts::json) as f(
    execution_id uuid, name text, task_id text, sha256 text, size bigint, content_type text, at timestamptz)
  join sources s using (execution_id)
  on conflict (execution_id, name) do update
  set task_id = excluded.task_id, sha256 = excluded.sha256, size = excluded.size,
    content_type = excluded.content_type, created_at = excluded.created_at
)

-- name: notices
notices as materialized (
  select n.* from json_to_recordset(:notices::json) as n(
    from_id uuid, execution_id uuid, kind text, payload json, dedupe_key text, trace_id text)
  join owned on owned.execution_id = n.from_id
),
woken as (
  update interlock.live l set inbox_seq = l.inbox_seq + 1, wake_at = interlock.now()
  from notices n where l.execution_id = n.execution_id
  returning l.execution_id, l.tenant_id, l.inbox_seq, l.owner
),
new_inbox as (
  insert into interlock.inbox (execution_id, inbox_seq, tenant_id, kind, payload, dedupe_key, sent_by, trace_id)
  select w.execution_id, w.inbox_seq, w.tenant_id, n.kind, n.payload, n.dedupe_key, 'engine', n.trace_id
  from woken w join notices n using (execution_id)
  on conflict do nothing
)

-- name: result
(select count(*) from me) as alive,
array(select unnest(:touched::uuid[]) except select execution_id from owned) as foreign_ids

-- name: starts_result
array(select execution_id from starts except select execution_id from accepted) as lost

-- name: parks_result
array(select execution_id from parked) as parked

-- name: notices_result
array(select execution_id from woken) as woken,
array(select coalesce(owner, 0) from woken) as woken_owners

-- name: outbox
published as (  -- in the commit of the event: what a webhook of its tenant wants to hear of
  insert into interlock.outbox (execution_id, seq, tenant_id)
  select e.execution_id, e.seq, s.tenant_id
  from unnest(string_to_array(:execution_ids, chr(31))::uuid[], string_to_array(:seqs, chr(31))::int[],
      string_to_array(:types, chr(31))) as e(execution_id, seq, type)
  join sources s using (execution_id)
  where exists (select from interlock.webhooks w
    where w.tenant_id = s.tenant_id and w.is_active and e.type = any (w.events))
  returning execution_id
)

-- name: outbox_result
(select count(*) from published) as published,
exists (select from interlock.webhooks where is_active) as is_heard
