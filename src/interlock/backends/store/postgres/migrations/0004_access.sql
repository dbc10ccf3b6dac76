-- Who may come in: tenants, API keys, stream tickets, nonces of signed requests, and the audit log.
--
-- `interlock_access` is the role of this work. It looks a key up before anybody knows whose it is, so it works for all
-- tenants, on these tables only. Callers list and change keys as themselves, behind row-level security.

do $$
begin
  if not exists (select from pg_roles where rolname = 'interlock_access') then
    create role interlock_access nologin noinherit;
  end if;
  if not pg_has_role(current_setting('interlock.server_role'), 'interlock_access', 'member') then
    execute format('grant interlock_access to %I', current_setting('interlock.server_role'))
      || case when current_setting('server_version_num')::int >= 160000 then ' with inherit false' else '' end;
  end if;
end $$;

grant usage on schema interlock to interlock_access;
grant execute on function interlock.now() to interlock_access;

-- Those that somebody made, and those that a caller came from; of a tenant without a row nothing is forbidden.
create table interlock.tenants (
  tenant_id text primary key,
  title text not null default '',
  is_local boolean not null default false,  -- a caller of local mode named it
  created_at timestamptz not null default interlock.now(),
  disabled_at timestamptz
);
create index tenants_disabled on interlock.tenants (tenant_id) where disabled_at is not null;

create table interlock.api_keys (
  key_id uuid primary key,
  public_id text not null unique,
  tenant_id text not null,
  client_name text not null,
  scopes text[] not null,
  tier text not null check (tier in ('standard', 'premium', 'development')),
  signing boolean not null default false,
  digest bytea not null,
  last4 text not null,
  allowed_tools text[],
  allowed_models text[],
  created_at timestamptz not null,
  created_by text not null,
  expires_at timestamptz,
  revoked_at timestamptz,
  replaced_by uuid,
  payer uuid,  -- of a key that took another one's place: the first of them, whose budget it spends
  last_used_at timestamptz
);
create index api_keys_newest on interlock.api_keys (tenant_id, created_at desc, key_id);

create table interlock.tickets (
  digest bytea primary key,
  tenant_id text not null,
  principal json not null,
  resource text not null,
  expires_at timestamptz not null,
  ends_at timestamptz,  -- when the token is over that it was asked for with
  credential bytea not null  -- that token, sealed; empty where there was none
);
create index tickets_by_tenant on interlock.tickets (tenant_id);
create index tickets_expiry on interlock.tickets (expires_at);

create table interlock.nonces (
  key_id uuid not null,
  nonce text not null,
  tenant_id text not null,
  expires_at timestamptz not null,
  primary key (key_id, nonce)
);
create index nonces_by_tenant on interlock.nonces (tenant_id);
create index nonces_expiry on interlock.nonces (expires_at);

-- What was answered to a request with an idempotency key; `status` is null while it is worked on. Bodies are sealed,
-- because some of them hold what is shown once.
create table interlock.answers (
  tenant_id text not null,
  scope text not null,
  key text not null,
  digest bytea not null,
  status smallint,
  body bytea,
  claimed_at timestamptz not null default interlock.now(),
  expires_at timestamptz not null,
  primary key (tenant_id, scope, key)
);
create index answers_expiry on interlock.answers (expires_at);

-- One row for every change, and for every refusal or several of one kind that came within the same moment.
create table interlock.audit (
  audit_id uuid primary key,
  tenant_id text not null,
  at timestamptz not null,
  subject text not null,
  kind text not null,
  key_id uuid,
  action text not null,
  target text not null,
  outcome text not null check (outcome in ('done', 'refused', 'failed')),
  status int not null,
  code text not null,
  door text not null,
  client text not null,
  user_agent text not null,
  trace_id text not null,
  request_id text not null,
  detail text not null default '',
  times int not null default 1
);
create index audit_newest on interlock.audit (tenant_id, at desc, audit_id desc);
create index audit_oldest on interlock.audit using brin (at);

-- What is written in the audit log stays as it is, also for the owner of the table. Only the role of access clears
-- entries away, and none that is younger than 30 days.
create function interlock.refuse_change() returns trigger language plpgsql
set search_path = '' as $$
begin
  raise insufficient_privilege using message = 'the audit log is only added to';
end $$;
revoke all on function interlock.refuse_change() from public;
create trigger audit_stays before update or truncate on interlock.audit
  for each statement execute function interlock.refuse_change();
create trigger audit_is_cleared before delete on interlock.audit
  for each statement when (current_user <> 'interlock_access') execute function interlock.refuse_change();
create trigger audit_is_kept before delete on interlock.audit
  for each row when (old.at > current_timestamp - interval '30 days') execute function interlock.refuse_change();

do $$
declare
  walled text;
begin
  foreach walled in array array['tenants', 'api_keys', 'tickets', 'nonces', 'answers', 'audit'] loop
    execute format('alter table interlock.%I enable row level security', walled);
    execute format('alter table interlock.%I force row level security', walled);
    execute format(
      'revoke all on interlock.%I from public, anon, authenticated, interlock_engine, interlock_access', walled);
  end loop;
end $$;

-- A caller sees its own tenant; which of its people may manage keys, the services decide by scope.
create policy read_own on interlock.tenants for select to authenticated
  using (tenant_id = (select interlock.tenant()));
create policy read_own on interlock.api_keys for select to authenticated
  using (tenant_id = (select interlock.tenant()));
create policy add_own on interlock.api_keys for insert to authenticated
  with check (tenant_id = (select interlock.tenant()) and created_by = (select interlock.subject()));
create policy change_own on interlock.api_keys for update to authenticated
  using (tenant_id = (select interlock.tenant()));
create policy read_own on interlock.audit for select to authenticated
  using (tenant_id = (select interlock.tenant()));
-- Calls that named no tenant: for who looks after the installation.
create policy read_strangers on interlock.audit for select to authenticated
  using (tenant_id = '' and (select interlock.tenant()) = 'default');

-- The digest is written once and read by nobody but the role that compares it.
grant select on interlock.tenants, interlock.audit to authenticated;
grant insert on interlock.api_keys to authenticated;
grant select (key_id, public_id, tenant_id, client_name, scopes, tier, signing, last4, allowed_tools, allowed_models,
    created_at, created_by, expires_at, revoked_at, replaced_by, payer, last_used_at),
  update (expires_at, revoked_at, replaced_by) on interlock.api_keys to authenticated;

create policy access on interlock.tenants to interlock_access using (true) with check (true);
create policy access on interlock.api_keys to interlock_access using (true) with check (true);
create policy access on interlock.tickets to interlock_access using (true) with check (true);
create policy access on interlock.nonces to interlock_access using (true) with check (true);
create policy access on interlock.answers to interlock_access using (true) with check (true);
create policy access on interlock.audit to interlock_access using (true) with check (true);

grant select, insert, update (title, disabled_at) on interlock.tenants to interlock_access;
grant select, delete on interlock.api_keys to interlock_access;
grant update (last_used_at) on interlock.api_keys to interlock_access;
grant select, insert, delete on interlock.tickets, interlock.nonces to interlock_access;
grant select, insert, update, delete on interlock.answers to interlock_access;
grant select (audit_id, at), insert, delete on interlock.audit to interlock_access;
