-- Signals. Each is one statement: the inbox row and the counter of its execution. Run as interlock_engine.

-- name: signal
-- $1 execution, $2 tenant, $3 kind, $4 name, $5 payload, $6 dedupe key, $7 sender, $8 expected state, $9 trace id,
-- $10 runner that may adopt an unowned execution (or null), if its log is of no later format than the runner knows.
with me as materialized (
  select j.runner_id, r.format from interlock.journals j join interlock.runners r using (runner_id)
  where j.runner_id = $10 for key share of j
), target as (
  update interlock.live l
  set inbox_seq = l.inbox_seq + 1,
    owner = coalesce(l.owner, (select runner_id from me where format >= l.format)),
    epoch = l.epoch + (l.owner is null and exists (select from me where format >= l.format))::int,
    format = case when l.owner is null then greatest(l.format, (select format from me)) else l.format end,
    wake_at = interlock.now()
  where l.execution_id = $1 and l.tenant_id = $2
  returning l.execution_id, l.tenant_id, l.inbox_seq, l.owner, l.epoch
)
insert into interlock.inbox (execution_id, inbox_seq, tenant_id, kind, name, payload, dedupe_key, sent_by,
  expected_state, trace_id)
select execution_id, inbox_seq, tenant_id, $3, $4, $5::json, $6, $7, $8, $9 from target
returning inbox_seq, (select owner from target) as owner, (select epoch from target) as epoch;

-- name: signals
-- Many signals, at most one for each execution: $1 their rows, $2 runner that may adopt (or null), see ``signal``. It
-- waits for no lock (two that wait for several could wait for each other): what is left out is sent alone.
with me as materialized (
  select j.runner_id, r.format from interlock.journals j join interlock.runners r using (runner_id)
  where j.runner_id = $2 for key share of j
), given as materialized (
  select * from json_to_recordset($1::json) as g(n int, execution_id uuid, tenant_id text, kind text, name text,
    payload text, dedupe_key text, sent_by text, expected_state text, trace_id text, adopter int)
), free as materialized (
  select l.execution_id, g.n,
    (select runner_id from me where g.adopter is not null and l.owner is null and format >= l.format) as adopter
  from given g join interlock.live l on l.execution_id = g.execution_id and l.tenant_id = g.tenant_id
  where g.dedupe_key is null or not exists (
    select from interlock.inbox i
    where i.execution_id = g.execution_id and i.kind = g.kind and i.dedupe_key = g.dedupe_key)
  for update of l skip locked
), target as (
  update interlock.live l
  set inbox_seq = l.inbox_seq + 1,
    owner = coalesce(l.owner, f.adopter),
    epoch = l.epoch + (f.adopter is not null)::int,
    format = case when f.adopter is not null then (select format from me) else l.format end,
    wake_at = interlock.now()
  from free f
  where l.execution_id = f.execution_id
  returning f.n, l.execution_id, l.tenant_id, l.inbox_seq, l.owner, l.epoch
), new_inbox as (
  insert into interlock.inbox (execution_id, inbox_seq, tenant_id, kind, name, payload, dedupe_key, sent_by,
    expected_state, trace_id)
  select t.execution_id, t.inbox_seq, t.tenant_id, g.kind, g.name, g.payload::json, g.dedupe_key, g.sent_by,
    g.expected_state, g.trace_id
  from target t join given g using (n)
)
select n, inbox_seq, owner, epoch from target;

-- name: find_signal
select inbox_seq, name, payload, expected_state from interlock.inbox
where execution_id = $1 and kind = $2 and dedupe_key = $3;

-- name: outcome
-- What became of an inbox row. One that came while its execution was ending is never folded: it was too late.
select coalesce(i.outcome, case when l.execution_id is null then json_build_object('refused', json_build_object(
    'kind', 'conflict', 'code', 'SESSION_CLOSED', 'message', 'The execution has already ' || x.status,
    'details', json_build_object('status', x.status, 'ended', true))) end)
from interlock.inbox i
join interlock.executions x using (execution_id)
left join interlock.live l using (execution_id)
where i.execution_id = $1 and i.inbox_seq = $2;

-- name: open_inbox
-- What is not folded yet, in order, and how far the inbox goes.
select l.inbox_seq as last_seq, i.inbox_seq, i.kind, i.name, i.payload, i.dedupe_key, i.sent_by, i.expected_state,
  i.trace_id
from interlock.live l
left join interlock.inbox i on i.execution_id = l.execution_id and i.outcome is null and i.inbox_seq > $2
where l.execution_id = $1
order by i.inbox_seq;

-- name: decide_approval
-- The row is the only arbiter. $1 approval, $2 tenant, $3 new status, $4 decision, $5 data, $6 reason, $7 who,
-- $8 trace id, $9 whether it expires: only if it is due.
with decided as (
  update interlock.approvals a
  set status = $3, decision = $4, data = $5::json, reason = $6, decided_by = $7, decided_at = interlock.now()
  where a.approval_id = $1 and a.tenant_id = $2 and a.status = 'pending'
    and exists (select from interlock.live l where l.execution_id = a.execution_id)
    and (not $9 or a.expires_at <= interlock.now() and a.on_timeout <> 'escalate')  -- that one escalates first
    and ($9 or a.expires_at is null or a.expires_at > interlock.now())
  returning a.*
), target as (
  update interlock.live l set inbox_seq = l.inbox_seq + 1, wake_at = interlock.now()
  from decided d where l.execution_id = d.execution_id
  returning l.execution_id, l.tenant_id, l.inbox_seq, l.owner
)
insert into interlock.inbox (execution_id, inbox_seq, tenant_id, kind, payload, sent_by, trace_id)
select t.execution_id, t.inbox_seq, t.tenant_id, 'decision', json_build_object(
    'approval_id', d.approval_id, 'task_id', d.task_id, 'status', d.status, 'decision', d.decision, 'data', d.data,
    'reason', d.reason, 'by', d.decided_by, 'decided_at', d.decided_at, 'on_timeout', d.on_timeout,
    'default_response', d.default_response),
  coalesce($7, 'engine'), $8
from target t join decided d using (execution_id)
returning execution_id, inbox_seq, (select owner from target) as owner;

-- name: escalate_approval
-- A due approval goes to other people instead of expiring.
with moved as (
  update interlock.approvals a
  set assignees = a.escalate_to, escalate_to = '{}', on_timeout = 'fail', expires_at = interlock.now() + a.timeout
  where a.approval_id = $1 and a.tenant_id = $2 and a.status = 'pending' and a.on_timeout = 'escalate'
    and a.expires_at <= interlock.now()
  returning a.*
), target as (
  update interlock.live l set inbox_seq = l.inbox_seq + 1, wake_at = interlock.now()
  from moved m where l.execution_id = m.execution_id
  returning l.execution_id, l.tenant_id, l.inbox_seq, l.owner
)
insert into interlock.inbox (execution_id, inbox_seq, tenant_id, kind, payload, sent_by, trace_id)
select t.execution_id, t.inbox_seq, t.tenant_id, 'decision', json_build_object(
    'approval_id', m.approval_id, 'task_id', m.task_id, 'status', 'escalated', 'assignees', m.assignees,
    'expires_at', m.expires_at),
  'engine', $3
from target t join moved m using (execution_id)
returning execution_id, inbox_seq, (select owner from target) as owner;

-- name: approval
select a.*, interlock.now() as now from interlock.approvals a where a.approval_id = $1 and a.tenant_id = $2;

-- name: cancel_tree
-- One inbox row for the execution and for each of its living descendants, in the order of their ids. $6: runner that
-- adopts the unowned ones (or null): a cancellation ends them at once, so it must not wait for a free slot.
with recursive me as materialized (
  select j.runner_id, r.format from interlock.journals j join interlock.runners r using (runner_id)
  where j.runner_id = $6 for key share of j
), tree as (
  select execution_id from interlock.executions where execution_id = $1 and tenant_id = $2
  union
  select x.execution_id from interlock.executions x join tree t on x.parent_id = t.execution_id
), locked as (
  select l.execution_id from interlock.live l where l.execution_id in (select execution_id from tree)
  order by l.execution_id for update
), target as (
  update interlock.live l
  set inbox_seq = l.inbox_seq + 1,
    owner = coalesce(l.owner, (select runner_id from me where format >= l.format)),
    epoch = l.epoch + (l.owner is null and exists (select from me where format >= l.format))::int,
    format = case when l.owner is null then greatest(l.format, (select format from me)) else l.format end,
    wake_at = interlock.now()
  from locked where l.execution_id = locked.execution_id
  returning l.execution_id, l.tenant_id, l.inbox_seq, l.owner
)
insert into interlock.inbox (execution_id, inbox_seq, tenant_id, kind, payload, sent_by, trace_id)
select execution_id, inbox_seq, tenant_id, 'cancel', $3::json, $4, $5 from target
returning execution_id, inbox_seq, (select t.owner from target t where t.execution_id = inbox.execution_id) as owner;
