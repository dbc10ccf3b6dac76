-- Registered nodes and flows, and blackboards without an execution. Run as authenticated, under claims.

-- name: list_nodes
select node_id, name, description, endpoint, param_schema, timeout_seconds, version_id
from interlock.registry_nodes where tenant_id = (select interlock.tenant()) order by node_id;

-- name: find_nodes
select node_id, name, description, endpoint, param_schema, timeout_seconds, version_id
from interlock.registry_nodes where tenant_id = (select interlock.tenant()) and node_id = any ($1::text[]);

-- name: put_node
insert into interlock.registry_nodes (tenant_id, node_id, name, description, endpoint, param_schema,
  timeout_seconds, version_id, registered_by)
values ((select interlock.tenant()), $1, $2, $3, $4, $5::json, $6, $7, (select interlock.subject()))
on conflict (tenant_id, node_id) do update
set name = excluded.name, description = excluded.description, endpoint = excluded.endpoint,
  param_schema = excluded.param_schema, timeout_seconds = excluded.timeout_seconds,
  version_id = excluded.version_id, registered_by = excluded.registered_by, updated_at = interlock.now()
returning node_id;

-- name: add_node_version
-- What sessions that start from now on keep to.
insert into interlock.node_versions (version_id, tenant_id, node_id, endpoint, timeout_seconds, has_headers)
values ($1, (select interlock.tenant()), $2, $3, $4, $5);

-- name: delete_node
delete from interlock.registry_nodes where tenant_id = (select interlock.tenant()) and node_id = $1 returning node_id;

-- name: count_nodes
select count(*) from interlock.registry_nodes where tenant_id = (select interlock.tenant());

-- name: count_node_versions
select count(*) from interlock.node_versions where tenant_id = (select interlock.tenant());

-- name: count_flows
select count(*) from interlock.registry_flows f join interlock.workflows w using (workflow_id)
where f.tenant_id = (select interlock.tenant()) and w.deleted_at is null;

-- name: list_flows
select f.flow_id, w.workflow_id, w.version_id, w.number, w.name, w.description
from interlock.registry_flows f join interlock.workflows w using (workflow_id)
where f.tenant_id = (select interlock.tenant()) and w.deleted_at is null
order by f.flow_id;

-- name: find_flow
select f.flow_id, w.workflow_id, w.version_id, w.number, w.name, w.description
from interlock.registry_flows f join interlock.workflows w using (workflow_id)
where f.tenant_id = (select interlock.tenant()) and f.flow_id = $1 and w.deleted_at is null;

-- name: name_flow
-- A name whose workflow was deleted is free again.
insert into interlock.registry_flows as f (tenant_id, flow_id, workflow_id)
values ((select interlock.tenant()), $1, $2)
on conflict (tenant_id, flow_id) do update set workflow_id = excluded.workflow_id
where not exists (
  select from interlock.workflows w where w.workflow_id = f.workflow_id and w.deleted_at is null)
returning workflow_id;

-- name: add_hidden_workflow
-- Only its version matters: nobody finds the workflow itself.
insert into interlock.workflows (workflow_id, tenant_id, user_id, visibility, kind, name, description, tags, icon_url,
  version_id, number, source, created_at, updated_at, deleted_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $14);

-- name: successors
-- The executions of sessions that inherited from the session $1, oldest first.
select coalesce(nullif(metadata #>> '{session,session_id}', ''), execution_id::text) from interlock.executions
where tenant_id = (select interlock.tenant()) and metadata #>> '{session,inherit_session}' is not null
  and metadata #>> '{session,inherit_session}' = $1
order by created_at, execution_id limit 1000;

-- name: scratch
select key, value, version from interlock.scratch
where tenant_id = (select interlock.tenant()) and session_id = $1 and expires_at > interlock.now() order by key;

-- name: scratch_size
-- Of all keys but $2.
select coalesce(sum(size), 0)::bigint from interlock.scratch
where tenant_id = (select interlock.tenant()) and session_id = $1 and key <> $2 and expires_at > interlock.now();

-- name: forget_scratch
delete from interlock.scratch where tenant_id = (select interlock.tenant()) and expires_at <= interlock.now();

-- name: lock_scratch
select pg_advisory_xact_lock(hashtextextended((select interlock.tenant()) || '/' || $1, 0));

-- name: write_scratch
insert into interlock.scratch as s (tenant_id, session_id, key, value, size, expires_at)
values ((select interlock.tenant()), $1, $2, $3::json, $4, interlock.now() + $5::interval)
on conflict (tenant_id, session_id, key) do update
set value = excluded.value, size = excluded.size, version = s.version + 1, expires_at = excluded.expires_at
returning version;

-- name: keep_scratch
update interlock.scratch set expires_at = interlock.now() + $2::interval
where tenant_id = (select interlock.tenant()) and session_id = $1;
