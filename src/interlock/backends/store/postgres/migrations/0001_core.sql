-- The durable core. Tenants are separated by row-level security from the first table on.
--
-- Roles: the owner migrates; `authenticated` carries a caller's claims for one transaction (Supabase's own
-- convention); `interlock_engine` is the runner's: it owns nothing and sees only the tables listed below.
-- Setting `interlock.server_role` names the login role that may become these two.

create schema if not exists interlock;
revoke all on schema interlock from public;

do $$
declare
  wanted text;
begin
  foreach wanted in array array['anon', 'authenticated', 'interlock_engine'] loop
    if not exists (select from pg_roles where rolname = wanted) then
      execute format('create role %I nologin noinherit', wanted);
    end if;
  end loop;
  -- A login that inherited them would act as the engine without saying so.
  foreach wanted in array array['authenticated', 'interlock_engine'] loop
    if not pg_has_role(current_setting('interlock.server_role'), wanted, 'member') then
      execute format('grant %I to %I', wanted, current_setting('interlock.server_role'))
        || case when current_setting('server_version_num')::int >= 160000 then ' with inherit false' else '' end;
    end if;
  end loop;
end $$;

grant usage on schema interlock to authenticated, interlock_engine;

-- One clock for all defaults and comparisons; a session may shift it (tests do).
create function interlock.now() returns timestamptz language sql stable
set search_path = '' as $$
  select pg_catalog.clock_timestamp()
    + coalesce(nullif(pg_catalog.current_setting('interlock.clock_shift', true), ''), '0')::pg_catalog.interval
$$;

create function interlock.claims() returns jsonb language sql stable
set search_path = '' as $$
  select nullif(pg_catalog.current_setting('request.jwt.claims', true), '')::pg_catalog.jsonb
$$;

create function interlock.tenant() returns text language sql stable
set search_path = '' as $$ select interlock.claims() ->> 'tenant_id' $$;

create function interlock.subject() returns text language sql stable
set search_path = '' as $$ select interlock.claims() ->> 'sub' $$;

revoke all on function interlock.now(), interlock.claims(), interlock.tenant(), interlock.subject() from public;
grant execute on function interlock.now(), interlock.claims(), interlock.tenant(), interlock.subject()
  to authenticated, interlock_engine;

-- What people write -------------------------------------------------------------------------------------------

create table interlock.workflows (
  workflow_id uuid primary key,
  tenant_id text not null,
  user_id text not null,
  visibility text not null check (visibility in ('private', 'tenant')),
  kind text not null check (kind in ('graph', 'flow', 'agent')),
  name text not null,
  description text not null default '',
  tags text[] not null default '{}',
  icon_url text,
  version_id uuid not null,
  number int not null,
  source json not null,
  created_at timestamptz not null default interlock.now(),
  updated_at timestamptz not null default interlock.now(),
  deleted_at timestamptz
);
create index workflows_newest on interlock.workflows (tenant_id, updated_at desc, workflow_id);
create index workflows_by_name on interlock.workflows (tenant_id, name);

create table interlock.versions (
  version_id uuid primary key,
  workflow_id uuid not null references interlock.workflows deferrable initially deferred,
  tenant_id text not null,
  number int not null,
  digest text not null,
  definition json not null,
  source json not null,
  created_at timestamptz not null default interlock.now(),
  created_by text not null,
  unique (workflow_id, number)
);
create index versions_by_tenant on interlock.versions (tenant_id);

-- What runs ---------------------------------------------------------------------------------------------------

-- Unfinished executions only: the one table that claims read.
create table interlock.live (
  execution_id uuid primary key,
  tenant_id text not null,
  private_to text,
  owner bigint,
  epoch int not null default 0,
  wake_at timestamptz,
  priority smallint not null default 5 check (priority between 0 and 9),
  inbox_seq int not null default 0,
  format smallint not null,
  created_at timestamptz not null default interlock.now()
) with (fillfactor = 80);
create index live_due on interlock.live (tenant_id, priority, wake_at) where owner is null and wake_at is not null;
create index live_next on interlock.live (wake_at) where owner is null and wake_at is not null;
create index live_owned on interlock.live (owner, tenant_id) where owner is not null;

-- Every execution. Partitioned by time: ids are UUIDv7.
create table interlock.executions (
  execution_id uuid primary key,
  tenant_id text not null,
  user_id text not null,
  visibility text not null,
  workflow_id uuid,
  version_id uuid not null,
  workflow_number int not null,
  kind text not null,
  status text not null,
  waiting_reason text,
  waiting_since timestamptz,
  input json,
  output json,
  error json,
  mode text not null,
  started_by text not null,
  parent_id uuid,
  root_id uuid not null,
  trace_id text not null,
  metadata json not null default '{}',
  created_at timestamptz not null,
  updated_at timestamptz not null,
  ended_at timestamptz
) partition by range (execution_id);
create index executions_newest on interlock.executions (tenant_id, execution_id desc);
create index executions_of_workflow on interlock.executions (workflow_id, execution_id desc);
create index executions_by_status on interlock.executions (tenant_id, status, execution_id desc);
create index executions_of_parent on interlock.executions (parent_id) where parent_id is not null;
create index executions_of_root on interlock.executions (root_id);

-- The log: one committed row for everything that happens to an execution.
create table interlock.events (
  execution_id uuid not null,
  seq int not null check (seq > 0),
  tenant_id text not null,
  private_to text,
  type text not null,
  data json not null,
  refs json,
  at timestamptz not null,
  trace_id text not null,
  format smallint not null,
  primary key (execution_id, seq)
) partition by range (execution_id);

create table interlock.executions_rest partition of interlock.executions default;
create table interlock.events_rest partition of interlock.events default;

-- Signals, in the order of inbox_seq; the flush that folds one writes its outcome.
create table interlock.inbox (
  execution_id uuid not null,
  inbox_seq int not null,
  tenant_id text not null,
  kind text not null,
  name text not null default '',
  payload json,
  dedupe_key text,
  sent_by text not null default '',
  expected_state text,
  trace_id text not null,
  received_at timestamptz not null default interlock.now(),
  outcome json,
  primary key (execution_id, inbox_seq)
);
create unique index inbox_dedupe on interlock.inbox (execution_id, dedupe_key) where dedupe_key is not null;
create index inbox_open on interlock.inbox (execution_id, inbox_seq) where outcome is null;

create table interlock.approvals (
  approval_id uuid primary key,
  execution_id uuid not null,
  tenant_id text not null,
  private_to text,
  workflow_id uuid,
  task_id text not null,
  node_id text not null,
  kind text not null,
  interaction_type text not null,
  title text not null,
  description text not null,
  request json,
  fields json not null default '[]',
  options text[] not null default '{}',
  assignees text[] not null default '{}',
  priority text not null,
  reason_required boolean not null default false,
  forbid_requester boolean not null default false,
  requested_by text not null default '',
  on_timeout text not null,
  default_response json,
  escalate_to text[] not null default '{}',
  timeout interval,
  status text not null default 'pending'
    check (status in ('pending', 'approved', 'denied', 'expired', 'cancelled')),
  decision text,
  data json,
  reason text,
  decided_by text,
  created_at timestamptz not null default interlock.now(),
  expires_at timestamptz,
  decided_at timestamptz
);
create index approvals_inbox on interlock.approvals (tenant_id, status, created_at desc, approval_id);
create index approvals_of_execution on interlock.approvals (execution_id);

create table interlock.artifacts (
  execution_id uuid not null,
  name text not null,
  tenant_id text not null,
  private_to text,
  task_id text not null,
  sha256 text not null,
  size bigint not null,
  content_type text not null,
  created_at timestamptz not null default interlock.now(),
  primary key (execution_id, name)
);
create index artifacts_by_tenant on interlock.artifacts (tenant_id);

-- Every key chosen outside: idempotency keys, ids of clients. Not partitioned, because a partitioned table
-- cannot keep a key unique that does not hold the partition column.
create table interlock.keys (
  tenant_id text not null,
  scope text not null,
  key text not null,
  digest text not null,
  execution_id uuid not null,
  status smallint,
  answer json,
  created_at timestamptz not null default interlock.now(),
  expires_at timestamptz not null,
  primary key (tenant_id, scope, key)
);
create index keys_expiry on interlock.keys (expires_at);

create table interlock.blobs (
  tenant_id text not null,
  sha256 text not null,
  size bigint not null,
  content bytea not null,
  created_at timestamptz not null default interlock.now(),
  primary key (tenant_id, sha256)
);
alter table interlock.blobs alter column content set storage external;

-- Who runs ----------------------------------------------------------------------------------------------------

create table interlock.runners (
  runner_id bigint generated always as identity primary key,
  name text not null,
  format smallint not null,
  started_at timestamptz not null default interlock.now(),
  seen_at timestamptz not null default interlock.now()
) with (fillfactor = 50);

-- The fence: a flush counts up its runner's row here and does nothing if that cannot be done.
create table interlock.journals (
  runner_id bigint primary key references interlock.runners on delete cascade,
  flushed bigint not null default 0
) with (fillfactor = 50);

-- Partitions: one a week, by the time in the id. The default partitions take what lies outside.
create function interlock.ensure_partitions(weeks_ahead int) returns int
language plpgsql security definer set search_path = '' as $$
declare
  monday timestamptz := pg_catalog.date_trunc('week', pg_catalog.now() at time zone 'UTC') at time zone 'UTC';
  first timestamptz;
  parent text;
  child text;
  made int := 0;
begin
  perform pg_catalog.pg_advisory_xact_lock(hashtext('interlock.ensure_partitions'));
  for week in 0 .. weeks_ahead loop
    first := monday + pg_catalog.make_interval(weeks => week);
    foreach parent in array array['executions', 'events'] loop
      child := parent || '_' || pg_catalog.to_char(first at time zone 'UTC', 'IYYY"w"IW');
      if pg_catalog.to_regclass('interlock.' || child) is null then
        execute pg_catalog.format(
          'create table interlock.%I partition of interlock.%I for values from (%L) to (%L)',
          child, parent, interlock.first_id(first), interlock.first_id(first + interval '1 week'));
        execute pg_catalog.format('alter table interlock.%I enable row level security', child);
        execute pg_catalog.format('alter table interlock.%I force row level security', child);
        execute pg_catalog.format(
          'revoke all on interlock.%I from public, anon, authenticated, interlock_engine', child);
        made := made + 1;
      end if;
    end loop;
  end loop;
  return made;
end $$;

create function interlock.first_id(at timestamptz) returns uuid language sql immutable
set search_path = '' as $$
  select (pg_catalog.lpad(pg_catalog.to_hex((extract(epoch from at) * 1000)::pg_catalog.int8), 12, '0')
    || '00000000000000000000')::pg_catalog.uuid
$$;

revoke all on function interlock.ensure_partitions(int), interlock.first_id(timestamptz) from public;
grant execute on function interlock.ensure_partitions(int) to interlock_engine;

-- Walls -------------------------------------------------------------------------------------------------------

do $$
declare
  walled text;
begin
  for walled in select tablename from pg_tables where schemaname = 'interlock' loop
    execute format('alter table interlock.%I enable row level security', walled);
    execute format('alter table interlock.%I force row level security', walled);
    execute format('revoke all on interlock.%I from public, anon, authenticated, interlock_engine', walled);
  end loop;
end $$;

-- A caller sees its tenant's shared rows and its own.
create policy read_own on interlock.workflows for select to authenticated
  using (tenant_id = (select interlock.tenant())
    and (visibility = 'tenant' or user_id = (select interlock.subject())));
create policy add_own on interlock.workflows for insert to authenticated
  with check (tenant_id = (select interlock.tenant()) and user_id = (select interlock.subject()));
create policy change_own on interlock.workflows for update to authenticated
  using (tenant_id = (select interlock.tenant())
    and (visibility = 'tenant' or user_id = (select interlock.subject())))
  with check (tenant_id = (select interlock.tenant()));

create policy read_own on interlock.versions for select to authenticated
  using (tenant_id = (select interlock.tenant())
    and workflow_id in (select w.workflow_id from interlock.workflows w where w.workflow_id = versions.workflow_id));
create policy add_own on interlock.versions for insert to authenticated
  with check (tenant_id = (select interlock.tenant())
    and workflow_id in (select w.workflow_id from interlock.workflows w where w.workflow_id = versions.workflow_id));

create policy read_own on interlock.executions for select to authenticated
  using (tenant_id = (select interlock.tenant())
    and (visibility = 'tenant' or user_id = (select interlock.subject())));
create policy read_own on interlock.events for select to authenticated
  using (tenant_id = (select interlock.tenant())
    and (private_to is null or private_to = (select interlock.subject())));
create policy read_own on interlock.artifacts for select to authenticated
  using (tenant_id = (select interlock.tenant())
    and (private_to is null or private_to = (select interlock.subject())));
create policy read_own on interlock.approvals for select to authenticated
  using (tenant_id = (select interlock.tenant())
    and (private_to is null or private_to = (select interlock.subject())
      or (select interlock.subject()) = any (assignees)
      or (select interlock.claims() ->> 'email') = any (assignees)
      or ('role:' || (select interlock.claims() ->> 'interlock_role')) = any (assignees)));
create policy read_own on interlock.inbox for select to authenticated
  using (tenant_id = (select interlock.tenant())
    and execution_id in (select x.execution_id from interlock.executions x where x.execution_id = inbox.execution_id));
create policy read_own on interlock.live for select to authenticated
  using (tenant_id = (select interlock.tenant())
    and (private_to is null or private_to = (select interlock.subject())));

grant select, insert, update on interlock.workflows to authenticated;
grant select, insert on interlock.versions to authenticated;
grant select on interlock.executions, interlock.events, interlock.artifacts, interlock.approvals, interlock.inbox,
  interlock.live to authenticated;

-- The engine works for all tenants, on these tables only.
create policy engine on interlock.live to interlock_engine using (true) with check (true);
create policy engine on interlock.executions to interlock_engine using (true) with check (true);
create policy engine on interlock.events to interlock_engine using (true) with check (true);
create policy engine on interlock.inbox to interlock_engine using (true) with check (true);
create policy engine on interlock.approvals to interlock_engine using (true) with check (true);
create policy engine on interlock.artifacts to interlock_engine using (true) with check (true);
create policy engine on interlock.keys to interlock_engine using (true) with check (true);
create policy engine on interlock.blobs to interlock_engine using (true) with check (true);
create policy engine on interlock.runners to interlock_engine using (true) with check (true);
create policy engine on interlock.journals to interlock_engine using (true) with check (true);
create policy engine on interlock.workflows for select to interlock_engine using (true);
create policy engine on interlock.versions for select to interlock_engine using (true);

grant select, insert, update, delete on interlock.live, interlock.keys, interlock.runners, interlock.journals
  to interlock_engine;
grant select, insert, update on interlock.executions, interlock.inbox, interlock.approvals, interlock.artifacts
  to interlock_engine;
grant select, insert on interlock.events, interlock.blobs to interlock_engine;
grant select on interlock.workflows, interlock.versions to interlock_engine;

select interlock.ensure_partitions(4);
