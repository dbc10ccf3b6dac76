-- What the tempo door keeps beside workflows: nodes that are called over HTTP, the names of flows, and blackboards
-- without an execution. A tenant shares all of it.

create table interlock.registry_nodes (
  tenant_id text not null,
  node_id text not null,
  name text not null,
  description text not null default '',
  endpoint text not null,
  param_schema json not null default '{}',
  timeout_seconds double precision not null,
  version_id uuid not null,
  registered_by text not null,
  updated_at timestamptz not null default interlock.now(),
  primary key (tenant_id, node_id)
);

-- What a flow is called by its clients; what it says is a workflow with versions like any other.
create table interlock.registry_flows (
  tenant_id text not null,
  flow_id text not null,
  workflow_id uuid not null,
  primary key (tenant_id, flow_id)
);
create index registry_flows_of_workflow on interlock.registry_flows (workflow_id);

create table interlock.scratch (
  tenant_id text not null,
  session_id text not null,
  key text not null,
  value json not null,
  size int not null,
  version int not null default 1,
  expires_at timestamptz not null,
  primary key (tenant_id, session_id, key)
);
create index scratch_expiry on interlock.scratch (tenant_id, expires_at);

do $$
declare
  walled text;
begin
  foreach walled in array array['registry_nodes', 'registry_flows', 'scratch'] loop
    execute format('alter table interlock.%I enable row level security', walled);
    execute format('alter table interlock.%I force row level security', walled);
    execute format('revoke all on interlock.%I from public, anon, authenticated, interlock_engine', walled);
  end loop;
end $$;

create policy of_tenant on interlock.registry_nodes to authenticated
  using (tenant_id = (select interlock.tenant()));
create policy of_tenant on interlock.registry_flows to authenticated
  using (tenant_id = (select interlock.tenant()));
create policy of_tenant on interlock.scratch to authenticated
  using (tenant_id = (select interlock.tenant()));

grant select, insert, update, delete on interlock.registry_nodes, interlock.scratch to authenticated;
grant select, insert, update on interlock.registry_flows to authenticated;

-- The engine counts what there is.
create policy engine on interlock.registry_flows for select to interlock_engine using (true);
grant select on interlock.registry_flows to interlock_engine;

-- How often the nodes of a tenant ran, and for how long. Only the engine adds to it and reads it.
create table interlock.node_totals (
  tenant_id text not null,
  node text not null,
  ended bigint not null,
  timed bigint not null,
  seconds double precision not null,
  least double precision,
  most double precision,
  primary key (tenant_id, node)
);
alter table interlock.node_totals enable row level security;
alter table interlock.node_totals force row level security;
revoke all on interlock.node_totals from public, anon, authenticated, interlock_engine;
create policy engine on interlock.node_totals to interlock_engine using (true) with check (true);
grant select, insert, update on interlock.node_totals to interlock_engine;

-- The sessions that began with the blackboard of another one, by the name of that one.
create index executions_inheriting on interlock.executions (tenant_id, (metadata #>> '{session,inherit_session}'))
  where metadata #>> '{session,inherit_session}' is not null;
