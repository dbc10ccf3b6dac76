-- Approvals, as their callers may see them. Run as authenticated, under claims.

-- name: approval
select * from interlock.approvals where approval_id = $1;

-- name: list_approvals
-- $1 status, $2 execution, $3 limit, $4 offset. Newest first.
select * from interlock.approvals
where tenant_id = (select interlock.tenant())
  and ($1::text is null or status = $1) and ($2::uuid is null or execution_id = $2)
order by created_at desc, approval_id limit $3 offset $4;

-- name: count_approvals
-- $3: count no further.
select count(*) from (
  select from interlock.approvals
  where tenant_id = (select interlock.tenant())
    and ($1::text is null or status = $1) and ($2::uuid is null or execution_id = $2)
  limit $3
) counted;
