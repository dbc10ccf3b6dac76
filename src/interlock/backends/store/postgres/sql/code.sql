-- Users' code. Run as interlock_engine.

-- name: put
insert into interlock.code (tenant_id, digest, form, author, content, seal) values ($1, $2, $3, $4, $5, $6)
on conflict do nothing;

-- name: get
select form, author, content, seal from interlock.code where tenant_id = $1 and digest = $2;
