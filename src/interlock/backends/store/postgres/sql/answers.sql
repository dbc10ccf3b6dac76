-- Answers to requests with an idempotency key. Run as interlock_access.

-- name: claim
-- $1 tenant, $2 caller and operation, $3 key, $4 digest of the request, $5 how long it is kept.
insert into interlock.answers (tenant_id, scope, key, digest, expires_at)
values ($1, $2, $3, $4, interlock.now() + $5::interval)
on conflict (tenant_id, scope, key) do update set digest = excluded.digest, status = null, body = null,
  claimed_at = interlock.now(), expires_at = excluded.expires_at
where answers.expires_at <= interlock.now()
returning true;

-- name: find
-- $4: how long somebody may work on an answer.
select digest, status, body, claimed_at < interlock.now() - $4::interval as is_lost
from interlock.answers
where tenant_id = $1 and scope = $2 and key = $3 and expires_at > interlock.now();

-- name: keep
insert into interlock.answers (tenant_id, scope, key, digest, status, body, expires_at)
values ($1, $2, $3, $4, $5, $6, interlock.now() + $7::interval)
on conflict (tenant_id, scope, key) do update set status = excluded.status, body = excluded.body
where answers.status is null and answers.digest = excluded.digest;

-- name: release
delete from interlock.answers where tenant_id = $1 and scope = $2 and key = $3 and status is null;

-- name: purge
-- Answers that are kept no longer, the oldest first, at most $1; how many it were.
with gone as (
  delete from interlock.answers where (tenant_id, scope, key) in (
    select tenant_id, scope, key from interlock.answers where expires_at <= interlock.now()
    order by expires_at limit $1)
  returning 1
)
select count(*) from gone;
