-- Subscriptions as their callers see them (run as authenticated), and everything behind them (as interlock_engine).

-- name: add_webhook
insert into interlock.webhooks (webhook_id, tenant_id, user_id, url, description, events, workflow_id, created_at)
values ($1, $2, $3, $4, $5, $6, $7, $8);

-- name: webhook
select webhook_id, tenant_id, user_id, url, description, events, workflow_id, is_active, disabled_reason,
  last_success_at, created_at
from interlock.webhooks where webhook_id = $1;

-- name: list_webhooks
select webhook_id, tenant_id, user_id, url, description, events, workflow_id, is_active, disabled_reason,
  last_success_at, created_at
from interlock.webhooks where tenant_id = (select interlock.tenant())
order by created_at desc, webhook_id limit $1;

-- name: switch_webhook
update interlock.webhooks set is_active = $2, disabled_reason = $3 where webhook_id = $1 returning webhook_id;

-- name: delete_webhook
delete from interlock.webhooks where webhook_id = $1 returning webhook_id;

-- name: list_deliveries
-- $1 webhook, $2 status, $3 limit. Newest first.
select delivery_id, webhook_id, execution_id, seq, type, status, attempts, due_at, log, created_at, ended_at,
  redelivery_of
from interlock.deliveries
where tenant_id = (select interlock.tenant()) and webhook_id = $1 and ($2::text is null or status = $2)
order by created_at desc, delivery_id limit $3;

-- name: delivery
select delivery_id, webhook_id, execution_id, seq, type, status, attempts, due_at, log, created_at, ended_at,
  redelivery_of
from interlock.deliveries where delivery_id = $1;

-- Secrets ---------------------------------------------------------------------------------------------------------

-- name: secret
select sealed, previous, previous_until from interlock.webhook_secrets where tenant_id = $1 and owner = $2;

-- name: add_secret
insert into interlock.webhook_secrets (tenant_id, owner, sealed) values ($1, $2, $3) on conflict do nothing;

-- name: replace_secret
insert into interlock.webhook_secrets as w (tenant_id, owner, sealed) values ($1, $2, $3)
on conflict (tenant_id, owner) do update set sealed = excluded.sealed, created_at = interlock.now(),
  previous = case when $4::timestamptz is not null then w.sealed end, previous_until = $4;

-- name: reseal
update interlock.webhook_secrets set sealed = $4 where tenant_id = $1 and owner = $2 and sealed = $3;

-- name: secrets_after
-- A page of all of them, behind the owner $2 of the tenant $1.
select tenant_id, owner, sealed from interlock.webhook_secrets
where (tenant_id, owner) > ($1, $2) order by tenant_id, owner limit $3;

-- name: drop_secret
delete from interlock.webhook_secrets where tenant_id = $1 and owner = $2;

-- name: node_for
-- The version that a session began with, for any other execution the one of now.
select v.version_id, v.endpoint, v.timeout_seconds, v.has_headers
from interlock.executions x
left join interlock.registry_nodes n on n.tenant_id = $2 and n.node_id = $3
join interlock.node_versions v on v.tenant_id = $2 and v.node_id = $3
  and v.version_id = coalesce((x.metadata -> 'session' -> 'nodes' ->> $3)::uuid, n.version_id)
where x.execution_id = $1 and x.tenant_id = $2;

-- name: is_registered
select exists (select from interlock.registry_nodes where tenant_id = $1 and node_id = $2);

-- name: purge_nodes
-- Versions that are no more and that no unfinished session began with.
with used as materialized (
  select u.value::uuid as version_id
  from interlock.live l join interlock.executions x using (execution_id)
  cross join lateral json_each_text(x.metadata -> 'session' -> 'nodes') u
  union select version_id from interlock.registry_nodes
)
delete from interlock.node_versions v
where v.registered_at < interlock.now() - interval '1 hour'
  and v.version_id not in (select version_id from used);

-- name: purge_secrets
-- Those of versions, nodes and webhooks that are gone, or were refused after their secret was kept.
delete from interlock.webhook_secrets s
where s.created_at < interlock.now() - interval '1 hour' and (
  (s.owner like 'headers/%' and not exists (
    select from interlock.node_versions v where v.tenant_id = s.tenant_id and 'headers/' || v.version_id = s.owner))
  or (s.owner like 'node/%' and not exists (
    select from interlock.node_versions v where v.tenant_id = s.tenant_id and 'node/' || v.node_id = s.owner))
  or (s.owner like 'webhook/%' and not exists (
    select from interlock.webhooks w where w.tenant_id = s.tenant_id and 'webhook/' || w.webhook_id = s.owner)));

-- name: session_id
select coalesce(nullif(metadata->'session'->>'session_id', ''), execution_id::text)
from interlock.executions where execution_id = $1;

-- Callbacks -------------------------------------------------------------------------------------------------------

-- name: bind_message
-- Whether the message is for this execution: it is for the first that it was sent to.
insert into interlock.callback_messages as m (tenant_id, signer, message_id, execution_id) values ($1, $2, $3, $4)
on conflict (tenant_id, signer, message_id) do update set execution_id = m.execution_id
returning m.execution_id = $4 as is_bound;

-- name: purge_messages
-- A signature is good for five minutes either way of its own time.
delete from interlock.callback_messages where received_at < interlock.now() - interval '1 hour';

-- name: callback_target
-- The execution, and the version it pins.
select x.tenant_id, x.status, x.ended_at is not null as is_ended, v.definition
from interlock.executions x join interlock.versions v using (version_id)
where x.execution_id = $1;

-- name: accepted_callbacks
select data->>'task_id' as task_id, data->>'node_id' as node_id, coalesce(data->>'digest', '') as digest,
  coalesce(data->>'callback_id', '') as callback_id
from interlock.events
where execution_id = $1 and type = 'callback.received' and coalesce(data->>'accepted', 'true') = 'true'
order by seq desc limit 1000;

-- name: was_accepted
select coalesce(data->>'accepted', 'true') = 'true' as accepted, coalesce(data->>'reason', '') as reason
from interlock.events
where execution_id = $1 and seq between $2 and $3 and type = 'callback.received' limit 1;

-- name: position
select x.status, x.waiting_reason,
  coalesce((select e.data->'active' from interlock.events e
      where e.execution_id = x.execution_id and e.type = 'flow.transitioned' order by e.seq desc limit 1),
    (select json_build_array(coalesce(e.data->>'start_at', v.definition->>'initial_state'))
      from interlock.events e where e.execution_id = x.execution_id and e.seq = 1)) as active
from interlock.executions x join interlock.versions v using (version_id)
where x.execution_id = $1;

-- name: keep_late
-- The last word of a log that has ended: what came ($3), in the inbox, and that it came too late ($6), as an event.
-- Nobody owns the execution any more, so that only another late one can take the number; then this one tries again.
with ended as (
  select x.execution_id, x.tenant_id, e.seq, e.private_to, e.format
  from interlock.executions x cross join lateral (
    select seq, private_to, format from interlock.events where execution_id = x.execution_id order by seq desc limit 1
  ) e
  where x.execution_id = $1 and x.tenant_id = $2 and x.ended_at is not null
), told as (
  insert into interlock.events (execution_id, seq, tenant_id, private_to, type, data, at, trace_id, format)
  select execution_id, seq + 1, tenant_id, private_to, 'callback.received', $6::json, interlock.now(), $5,
    greatest(format, $7::smallint)
  from ended
  on conflict do nothing
  returning execution_id, seq, tenant_id
), published as (  -- whoever wants to hear of it: the relay sees to that, later than somebody might subscribe
  insert into interlock.outbox (execution_id, seq, tenant_id)
  select t.execution_id, t.seq, t.tenant_id from told t
)
insert into interlock.inbox (execution_id, inbox_seq, tenant_id, kind, name, payload, sent_by, trace_id, outcome)
select t.execution_id, 1 + (select coalesce(max(i.inbox_seq), 0) from interlock.inbox i where i.execution_id = $1),
  t.tenant_id, 'callback', 'late', $3::json, $4, $5, json_build_object('ignored', t.seq)
from told t
returning inbox_seq;

-- name: late_callbacks
-- What came too late before, and how often in all.
select count(*) as count,
  coalesce(bool_or(payload->>'digest' = $2 and payload->>'step' = $3), false) as is_known
from interlock.inbox where execution_id = $1 and kind = 'callback' and name = 'late';

-- Outbox ----------------------------------------------------------------------------------------------------------

-- name: fan_out
-- One delivery for each webhook that wants an event and may hear of it. $1: at most so many events.
with taken as (
  delete from interlock.outbox where (execution_id, seq) in (
    select execution_id, seq from interlock.outbox order by execution_id, seq limit $1 for update skip locked)
  returning execution_id, seq, tenant_id
), made as (
  insert into interlock.deliveries (webhook_id, tenant_id, private_to, execution_id, seq, type)
  select w.webhook_id, t.tenant_id, e.private_to, t.execution_id, t.seq, e.type
  from taken t
  join interlock.events e on e.execution_id = t.execution_id and e.seq = t.seq
  join interlock.executions x on x.execution_id = t.execution_id
  join interlock.webhooks w on w.tenant_id = t.tenant_id and w.is_active and e.type = any (w.events)
    and (w.workflow_id is null or w.workflow_id = x.workflow_id)
    and (e.private_to is null or e.private_to = w.user_id)
)
select count(*) from taken;

-- name: take_due
-- $1 limit, $2 limit of each webhook, $3 webhooks to leave out, $4 lease, $5 limit of each tenant, with what the
-- tenants $6 have already, $7. The first of each tenant come before the second of any.
with ranked as materialized (
  select d.delivery_id, w.tenant_id, row_number() over (partition by w.tenant_id order by d.due_at) as place
  from interlock.webhooks w
  cross join lateral (
    select p.delivery_id, p.due_at from interlock.deliveries p
    where p.webhook_id = w.webhook_id and p.status = 'pending' and p.due_at <= interlock.now()
    order by p.due_at limit $2
  ) d
  where w.is_active and w.webhook_id <> all ($3::uuid[])
), chosen as materialized (
  select r.delivery_id from ranked r
  left join unnest($6::text[], $7::int[]) as busy(tenant_id, calls) using (tenant_id)
  where r.place + coalesce(busy.calls, 0) <= $5
  order by r.place limit $1
), due as materialized (  -- another process may have been faster
  select d.delivery_id from interlock.deliveries d join chosen using (delivery_id)
  where d.status = 'pending' and d.due_at <= interlock.now()
  for update of d skip locked
), taken as (
  update interlock.deliveries d set attempts = d.attempts + 1, due_at = interlock.now() + $4::interval
  from due where d.delivery_id = due.delivery_id
  returning d.*
)
select t.delivery_id, t.webhook_id, t.tenant_id, w.url, t.attempts as attempt, t.failures, t.execution_id,
  x.workflow_id, x.metadata -> 'session' ->> 'session_id' as session_id, x.metadata -> 'session' ->> 'flow_id' as flow_id,
  x.metadata -> 'session' is not null as is_session, t.seq, t.type, e.at, e.trace_id,
  case when e.refs is null and length(e.data::text) <= 65536 then e.data::text end as data
from taken t
join interlock.webhooks w using (webhook_id)
join interlock.events e on e.execution_id = t.execution_id and e.seq = t.seq
join interlock.executions x on x.execution_id = t.execution_id;

-- name: settle
-- $1 delivery, $2 which attempt, $3 what is logged, $4 delivered, $5 when again (null: never), $6 why it is turned off.
with settled as (
  update interlock.deliveries d
  set log = d.log || $3::jsonb, failures = d.failures + (not $4::boolean)::int,
    status = case when $4 then 'delivered' when $5::interval is null then 'failed' else 'pending' end,
    due_at = case when not $4 then interlock.now() + $5::interval end,
    ended_at = case when $4 or $5::interval is null then interlock.now() end
  where d.delivery_id = $1 and d.attempts = $2 and d.status = 'pending'
  returning d.webhook_id, d.created_at
), was as materialized (  -- locked, so that of two deliveries at once only one finds it active
  select w.webhook_id, w.is_active from interlock.webhooks w join settled using (webhook_id)
  where $4 or $6::text is not null for update of w
)
update interlock.webhooks w
set last_success_at = case when $4 then interlock.now() else w.last_success_at end,
  is_active = w.is_active and not coalesce(
    $6::text is not null and ($6 <> 'failing' or w.last_success_at is null or w.last_success_at < s.created_at), false),
  disabled_reason = case when not w.is_active then w.disabled_reason
    when $6 <> 'failing' or w.last_success_at is null or w.last_success_at < s.created_at then $6 end
from settled s join was using (webhook_id)
where w.webhook_id = s.webhook_id
returning was.is_active and not w.is_active as is_off;

-- name: redeliver
insert into interlock.deliveries (webhook_id, tenant_id, private_to, execution_id, seq, type, redelivery_of)
select webhook_id, tenant_id, private_to, execution_id, seq, type, delivery_id
from interlock.deliveries where delivery_id = $1 and tenant_id = $2
returning delivery_id;

-- name: purge
delete from interlock.deliveries where ended_at < interlock.now() - $1::interval;
