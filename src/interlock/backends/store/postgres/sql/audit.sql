-- The audit log of one tenant. Run as authenticated, under claims: the policies say whose may be read.

-- name: list_audit
-- $1 subject, $2 beginning of the action, $3 outcome, $4 target, $5 since, $6 until, $7 behind this entry, $8 limit,
-- $9 whose.
select audit_id, tenant_id, at, subject, kind, key_id, action, target, outcome, status, code, door, client, user_agent,
  trace_id, request_id, detail, times
from interlock.audit
where tenant_id = $9
  and ($1::text is null or subject = $1)
  and ($2::text is null or starts_with(action, $2))
  and ($3::text is null or outcome = $3)
  and ($4::text is null or target = $4)
  and ($5::timestamptz is null or at >= $5)
  and ($6::timestamptz is null or at < $6)
  and ($7::uuid is null or (at, audit_id) < (select last.at, last.audit_id from interlock.audit last
    where last.audit_id = $7))
order by at desc, audit_id desc limit $8;

-- name: count_audit
-- $7: count no further. $8 whose.
select count(*) from (
  select from interlock.audit
  where tenant_id = $8
    and ($1::text is null or subject = $1)
    and ($2::text is null or starts_with(action, $2))
    and ($3::text is null or outcome = $3)
    and ($4::text is null or target = $4)
    and ($5::timestamptz is null or at >= $5)
    and ($6::timestamptz is null or at < $6)
  limit $7
) counted;
