-- Drafts of task graphs. Run as authenticated, under claims.

-- name: add_draft
insert into interlock.drafts (tenant_id, draft_id, name, made_by)
values ((select interlock.tenant()), $1, $2, (select interlock.subject()));

-- name: forget_drafts
-- A few at a time: whoever makes a new one does not wait long for it.
delete from interlock.drafts where draft_id in (
  select draft_id from interlock.drafts
  where tenant_id = (select interlock.tenant()) and touched_at < interlock.now() - $1::interval
  order by touched_at limit 20 for update skip locked);

-- name: count_drafts
select count(*) from interlock.drafts where tenant_id = (select interlock.tenant());

-- name: change_draft
-- From here on nobody else changes this draft until the transaction ends.
update interlock.drafts set touched_at = interlock.now(), frozen = null where draft_id = $1
returning draft_id, name, versions, frozen;

-- name: draft
-- That it is used is noted once an hour: nobody waits for a lock to read it.
with touched as (
  update interlock.drafts set touched_at = interlock.now()
  where draft_id = $1 and touched_at < interlock.now() - interval '1 hour'
)
select draft_id, name, versions, frozen from interlock.drafts where draft_id = $1;

-- name: use_draft
update interlock.drafts set touched_at = interlock.now() where draft_id = $1
returning draft_id, name, versions, frozen;

-- name: set_frozen
update interlock.drafts set frozen = $2 where draft_id = $1;

-- name: count_version
update interlock.drafts set versions = $2 where draft_id = $1;

-- name: add_task
insert into interlock.draft_tasks (tenant_id, draft_id, task_id, number, kind, name, content)
select (select interlock.tenant()), $1, $2, coalesce(max(t.number), 0) + 1, $3,
  coalesce($4::text, 'task_' || (coalesce(max(t.number), 0) + 1)), $5::json
from interlock.draft_tasks t where t.draft_id = $1;

-- name: count_tasks
select count(*) from interlock.draft_tasks where draft_id = $1;

-- name: task
select task_id, kind, name, content from interlock.draft_tasks where draft_id = $1 and task_id = $2;

-- name: tasks
select task_id, kind, name, content from interlock.draft_tasks where draft_id = $1 order by number;

-- name: task_names
select task_id, name from interlock.draft_tasks where draft_id = $1 order by number;

-- name: among_tasks
select task_id from interlock.draft_tasks where draft_id = $1 and task_id = any ($2::text[]);

-- name: save_task
update interlock.draft_tasks set name = coalesce($3::text, name), content = $4::json
where draft_id = $1 and task_id = $2;

-- name: delete_task
delete from interlock.draft_tasks where draft_id = $1 and task_id = $2 returning task_id;

-- name: delete_edges_of
delete from interlock.draft_edges where draft_id = $1 and (source = $2 or target = $2);

-- name: delete_edges_into
delete from interlock.draft_edges where draft_id = $1 and target = $2 and kind = any ($3::text[]);

-- name: delete_edge
delete from interlock.draft_edges where draft_id = $1 and source = $2 and target = $3 and kind <> 'read';

-- name: add_edges
insert into interlock.draft_edges (tenant_id, draft_id, source, target, kind)
select (select interlock.tenant()), $1, source, $3, kind
from unnest($2::text[]) source, unnest($4::text[]) kind on conflict do nothing;

-- name: has_edge
select exists (
  select from interlock.draft_edges where draft_id = $1 and source = $2 and target = $3 and kind <> 'read');

-- name: count_edges
select count(*) from (select distinct source, target from interlock.draft_edges where draft_id = $1) pairs;

-- name: first_behind
-- The first of the tasks $3 that comes behind the task $2.
with recursive behind (task_id) as (
  select target from interlock.draft_edges where draft_id = $1 and source = $2
  union
  select e.target from interlock.draft_edges e join behind b on e.draft_id = $1 and e.source = b.task_id
)
select task_id from behind where task_id = any ($3::text[]) limit 1;

-- name: edges
select distinct source, target from interlock.draft_edges where draft_id = $1 order by source, target;

-- name: add_hidden_workflow
-- The workflow itself is in no list: only its versions matter.
insert into interlock.workflows (workflow_id, tenant_id, user_id, visibility, kind, name, description, tags, version_id,
  number, source, created_at, updated_at, deleted_at)
values ($1, (select interlock.tenant()), (select interlock.subject()), 'tenant', 'graph', $2, '', '{}', $3, $4,
  '{}'::json, $5, $5, $5)
on conflict (workflow_id) do nothing;

-- name: has_version
select exists (select from interlock.versions where version_id = $1);
