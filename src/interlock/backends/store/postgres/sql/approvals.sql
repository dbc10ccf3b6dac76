-- Approvals, as their callers may see them. Run as authenticated, under claims.

-- name: approval
select approval_id, execution_id, tenant_id, workflow_id, task_id, node_id, kind, interaction_type, title, description,
  request, fields, options, assignees, priority, reason_required, forbid_requester, requested_by, on_timeout,
  default_response, status, decision, data, reason, decided_by, created_at, expires_at, decided_at
from interlock.approvals
where approval_id = $1;

-- name: list_approvals
-- $1 status, $2 executions, $3 limit, $4 offset. Newest first.
select approval_id, execution_id, tenant_id, workflow_id, task_id, node_id, kind, interaction_type, title, description,
  request, fields, options, assignees, priority, reason_required, forbid_requester, requested_by, on_timeout,
  default_response, status, decision, data, reason, decided_by, created_at, expires_at, decided_at
from interlock.approvals
where tenant_id = (select interlock.tenant())
  and ($1::text is null or status = $1) and ($2::uuid[] is null or execution_id = any($2))
order by created_at desc, approval_id limit $3 offset $4;

-- name: count_approvals
-- $3: count no further.
select count(*) from (
  select from interlock.approvals
  where tenant_id = (select interlock.tenant())
    and ($1::text is null or status = $1) and ($2::uuid[] is null or execution_id = any($2))
  limit $3
) counted;
