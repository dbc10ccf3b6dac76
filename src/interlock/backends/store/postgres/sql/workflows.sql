-- Workflows and their versions, as their callers may see them. Run as authenticated, under claims.

-- name: heads
select workflow_id, version_id, number, visibility, name from interlock.workflows
where workflow_id = any ($1::uuid[]) and deleted_at is null;

-- name: workflow
-- With its version $2, or with its newest one.
select w.workflow_id, w.tenant_id, w.user_id, w.visibility, w.kind, w.name, w.description, w.tags, w.icon_url,
  w.created_at, w.updated_at, v.source, v.version_id, v.number, v.digest, v.definition,
  v.created_at as version_created_at, v.created_by
from interlock.workflows w
join interlock.versions v on v.workflow_id = w.workflow_id and v.number = coalesce($2, w.number)
where w.workflow_id = $1 and w.deleted_at is null;

-- name: find_workflow
-- $1 is both an id (if it can be one, as $2) and a name; the id wins, then the one changed last.
select workflow_id from interlock.workflows
where tenant_id = (select interlock.tenant()) and deleted_at is null and (workflow_id = $2::uuid or name = $1)
order by workflow_id is not distinct from $2::uuid desc, updated_at desc, workflow_id
limit 1;

-- name: list_workflows
select w.workflow_id, w.tenant_id, w.user_id, w.visibility, w.kind, w.name, w.description, w.tags, w.icon_url,
  w.created_at, w.updated_at, v.source, v.version_id, v.number, v.digest, v.definition,
  v.created_at as version_created_at, v.created_by
from (
  select * from interlock.workflows
  where tenant_id = (select interlock.tenant()) and deleted_at is null and tags @> $2::text[]
    and ($1::text is null or strpos(lower(name), lower($1)) > 0 or strpos(lower(description), lower($1)) > 0)
  order by updated_at desc, workflow_id limit $3 offset $4
) w
join interlock.versions v on v.version_id = w.version_id
order by w.updated_at desc, w.workflow_id;

-- name: count_workflows
select count(*) from (
  select from interlock.workflows
  where tenant_id = (select interlock.tenant()) and deleted_at is null and tags @> $2::text[]
    and ($1::text is null or strpos(lower(name), lower($1)) > 0 or strpos(lower(description), lower($1)) > 0)
  limit $3
) counted;

-- name: versions
select version_id, workflow_id, number, digest, definition, created_at as version_created_at, created_by
from interlock.versions
where workflow_id = $1 and exists (select from interlock.workflows w where w.workflow_id = $1 and w.deleted_at is null)
order by number desc;

-- name: versions_by_id
-- Also those of deleted workflows: what was started goes on and is shown.
select version_id, workflow_id, number, digest, definition, created_at as version_created_at, created_by
from interlock.versions where version_id = any ($1::uuid[]);

-- name: add_workflow
insert into interlock.workflows (workflow_id, tenant_id, user_id, visibility, kind, name, description, tags, icon_url,
  version_id, number, source, created_at, updated_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14);

-- name: add_version
insert into interlock.versions (version_id, workflow_id, tenant_id, number, digest, definition, source, created_at,
  created_by)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: change_workflow
-- Only if the newest version is still number $11.
update interlock.workflows
set visibility = $2, kind = $3, name = $4, description = $5, tags = $6, icon_url = $7, version_id = $8, number = $9,
  source = $10, updated_at = $12
where workflow_id = $1 and number = $11 and deleted_at is null
returning workflow_id;

-- name: delete_workflow
-- Its versions stay: executions pin them.
update interlock.workflows set deleted_at = interlock.now() where workflow_id = $1 and deleted_at is null
returning workflow_id;
