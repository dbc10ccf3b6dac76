-- What is looked up and written for all tenants, as interlock_access.

-- name: begin
begin; select set_config('role', 'interlock_access', true), set_config('statement_timeout', '8000', true);

-- name: find_key
select key_id, public_id, tenant_id, client_name, scopes, tier, signing, digest, last4, allowed_tools, allowed_models,
  created_at, created_by, expires_at, revoked_at, replaced_by, payer, last_used_at
from interlock.api_keys
where public_id = $1;

-- name: touch_keys
-- $1 keys, $2 when each was used last. Rows of api_keys are locked in order of their ids, so that processes cannot
-- wait for each other in a circle.
with used as (
  select k.key_id, u.at
  from unnest($1::uuid[], $2::timestamptz[]) as u(key_id, at) join interlock.api_keys k on k.key_id = u.key_id
  where k.last_used_at is null or k.last_used_at < u.at
  order by k.key_id for no key update of k
)
update interlock.api_keys k set last_used_at = used.at from used where k.key_id = used.key_id;

-- name: add_ticket
-- Unless the tenant has $8 good ones. Two at the same moment may both be the last.
insert into interlock.tickets (digest, tenant_id, principal, resource, expires_at, ends_at, credential)
select $1, $2, $3, $4, $5, $6, $7
where (
  select count(*) from (
    select from interlock.tickets where tenant_id = $2 and expires_at > interlock.now() limit $8
  ) good
) < $8
returning true;

-- name: take_ticket
delete from interlock.tickets where digest = $1 returning principal, resource, expires_at, ends_at, credential;

-- name: use_nonce
insert into interlock.nonces (key_id, nonce, tenant_id, expires_at) values ($1, $2, $3, $4)
on conflict do nothing
returning true;

-- name: take_turn_for_tenants
-- Not below 7305: there each runner holds the lock of its own number for as long as it lives.
select pg_advisory_xact_lock(7306, 1);

-- name: has_tenant
select exists (select from interlock.tenants where tenant_id = $1);

-- name: ensure_tenant
-- $2: at most so many. Whoever comes here has taken its turn, so that two cannot both be the last.
insert into interlock.tenants (tenant_id, is_local)
select $1, true where (select count(*) from interlock.tenants where is_local) < $2
returning true;

-- name: write_audit
-- One text of all entries: that costs the server's process a fraction of a column each.
insert into interlock.audit (audit_id, tenant_id, at, subject, kind, key_id, action, target, outcome, status, code,
  door, client, user_agent, trace_id, request_id, detail, times)
select * from json_to_recordset($1::json) as e(audit_id uuid, tenant_id text, at timestamptz, subject text, kind text,
  key_id uuid, action text, target text, outcome text, status int, code text, door text, client text, user_agent text,
  trace_id text, request_id text, detail text, times int)
on conflict (audit_id) do nothing;

-- name: purge_audit
-- $1 days that entries are kept, $2 at most so many at a time.
with old as (
  select audit_id from interlock.audit where at < interlock.now() - make_interval(days => $1) limit $2
), gone as (
  delete from interlock.audit a using old where a.audit_id = old.audit_id returning true
)
select count(*) from gone;

-- name: purge_keys
-- Those that ended long ago; the audit log knows of them for longer.
delete from interlock.api_keys
where least(revoked_at, expires_at) < interlock.now() - interval '30 days';

-- name: purge_tickets
delete from interlock.tickets where expires_at < interlock.now() - interval '1 minute';

-- name: purge_nonces
delete from interlock.nonces where expires_at < interlock.now();
