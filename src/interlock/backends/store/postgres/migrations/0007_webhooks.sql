-- Webhooks, both directions: who wants to hear of what, the outbox, deliveries, what registered nodes were, and the
-- secrets that sign.

create table interlock.webhooks (
  webhook_id uuid primary key,
  tenant_id text not null,
  user_id text not null,
  url text not null,
  description text not null default '',
  events text[] not null,
  workflow_id uuid,
  is_active boolean not null default true,
  disabled_reason text,
  last_success_at timestamptz,
  created_at timestamptz not null default interlock.now()
);
create index webhooks_by_tenant on interlock.webhooks (tenant_id, created_at desc);
create index webhooks_active on interlock.webhooks (tenant_id) where is_active;

-- Of what is committed once a subscription is there, by whichever process, nothing is missed. A flush goes by the
-- subscriptions it saw when it began, and it takes its lock on the journals before it looks. So the commit of a new
-- one waits here for flushes under way, and those that come meanwhile begin behind it.
create function interlock.let_flushes_end() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  set local lock_timeout = '2s';
  lock table interlock.journals in share mode;
  return null;
end $$;
revoke all on function interlock.let_flushes_end() from public;

create constraint trigger webhook_made after insert on interlock.webhooks
  deferrable initially deferred for each row when (new.is_active) execute function interlock.let_flushes_end();
create constraint trigger webhook_turned_on after update of is_active on interlock.webhooks
  deferrable initially deferred for each row when (new.is_active and not old.is_active)
  execute function interlock.let_flushes_end();

-- Signing secrets, sealed by the server's keys: of webhooks, of nodes, and of callback tokens.
create table interlock.webhook_secrets (
  tenant_id text not null,
  owner text not null,
  sealed bytea not null,
  previous bytea,
  previous_until timestamptz,
  created_at timestamptz not null default interlock.now(),
  primary key (tenant_id, owner)
);

-- Events that somebody wants to hear of, in the commit that made them; gone once deliveries were made of them.
create table interlock.outbox (
  execution_id uuid not null,
  seq int not null,
  tenant_id text not null,
  primary key (execution_id, seq)
);
create index outbox_by_tenant on interlock.outbox (tenant_id);

create table interlock.deliveries (
  delivery_id uuid primary key default gen_random_uuid(),
  webhook_id uuid not null references interlock.webhooks on delete cascade,
  tenant_id text not null,
  private_to text,
  execution_id uuid not null,
  seq int not null,
  type text not null,
  status text not null default 'pending' check (status in ('pending', 'delivered', 'failed')),
  attempts int not null default 0,
  failures int not null default 0,
  due_at timestamptz default interlock.now(),
  log jsonb not null default '[]',
  redelivery_of uuid,
  created_at timestamptz not null default interlock.now(),
  ended_at timestamptz
) with (fillfactor = 80);
create index deliveries_due on interlock.deliveries (webhook_id, due_at) where status = 'pending';
create index deliveries_newest on interlock.deliveries (tenant_id, webhook_id, created_at desc, delivery_id);
create index deliveries_over on interlock.deliveries (ended_at) where ended_at is not null;

-- What a registered node is or was; a session keeps to what it was when it started. Headers may be credentials: they
-- are a sealed secret that is called by the version.
create table interlock.node_versions (
  version_id uuid primary key,
  tenant_id text not null,
  node_id text not null,
  endpoint text not null,
  timeout_seconds double precision not null,
  has_headers boolean not null,
  registered_at timestamptz not null default interlock.now()
);
create index node_versions_of_node on interlock.node_versions (tenant_id, node_id);

-- Which execution a signed callback was for, as long as its signature is good: it is for no other.
create table interlock.callback_messages (
  tenant_id text not null,
  signer text not null,
  message_id text not null,
  execution_id uuid not null,
  received_at timestamptz not null default interlock.now(),
  primary key (tenant_id, signer, message_id)
);
create index callback_messages_over on interlock.callback_messages (received_at);

do $$
declare
  walled text;
begin
  foreach walled in array array['webhooks', 'webhook_secrets', 'outbox', 'deliveries', 'node_versions',
    'callback_messages'] loop
    execute format('alter table interlock.%I enable row level security', walled);
    execute format('alter table interlock.%I force row level security', walled);
    execute format('revoke all on interlock.%I from public, anon, authenticated, interlock_engine', walled);
  end loop;
end $$;

-- Subscriptions belong to the tenant: a colleague may look at one, turn it on or off, and delete it. Nobody can send
-- it elsewhere: address, types and whose private executions it tells of stay as they were made.
create policy read_own on interlock.webhooks for select to authenticated
  using (tenant_id = (select interlock.tenant()));
create policy add_own on interlock.webhooks for insert to authenticated
  with check (tenant_id = (select interlock.tenant()) and user_id = (select interlock.subject()));
create policy change_own on interlock.webhooks for update to authenticated
  using (tenant_id = (select interlock.tenant()));
create policy delete_own on interlock.webhooks for delete to authenticated
  using (tenant_id = (select interlock.tenant()));
create policy read_own on interlock.deliveries for select to authenticated
  using (tenant_id = (select interlock.tenant())
    and (private_to is null or private_to = (select interlock.subject())));

grant select, insert, delete on interlock.webhooks to authenticated;
grant update (is_active, disabled_reason) on interlock.webhooks to authenticated;
grant select on interlock.deliveries to authenticated;

create policy engine on interlock.webhooks to interlock_engine using (true) with check (true);
create policy engine on interlock.webhook_secrets to interlock_engine using (true) with check (true);
create policy engine on interlock.outbox to interlock_engine using (true) with check (true);
create policy engine on interlock.deliveries to interlock_engine using (true) with check (true);

grant select, update on interlock.webhooks to interlock_engine;
grant select, insert, update, delete on interlock.webhook_secrets, interlock.outbox, interlock.deliveries
  to interlock_engine;

create policy engine on interlock.callback_messages to interlock_engine using (true) with check (true);
grant select, insert, update, delete on interlock.callback_messages to interlock_engine;

create policy add_own on interlock.node_versions for insert to authenticated
  with check (tenant_id = (select interlock.tenant()));
create policy engine on interlock.node_versions to interlock_engine using (true);
create policy read_own on interlock.node_versions for select to authenticated
  using (tenant_id = (select interlock.tenant()));
grant select, insert on interlock.node_versions to authenticated;
grant select, delete on interlock.node_versions to interlock_engine;

-- Whether a node is still registered is looked up when somebody proves to be it.
create policy engine on interlock.registry_nodes for select to interlock_engine using (true);
grant select on interlock.registry_nodes to interlock_engine;
