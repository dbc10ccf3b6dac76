-- Users' code. Run as interlock_engine.

-- name: put
-- Whether it is new; what is there already is as young as if it were.
insert into interlock.code as c (tenant_id, digest, form, author, content, seal) values ($1, $2, $3, $4, $5, $6)
on conflict (tenant_id, digest) do update set created_at = interlock.now()
returning c.xmax = 0 as is_new;

-- name: put_anew
update interlock.code set form = $3, author = $4, content = $5, seal = $6 where tenant_id = $1 and digest = $2;

-- name: get
select form, author, content, seal from interlock.code where tenant_id = $1 and digest = $2;

-- name: seals_after
-- A page of all of them, behind the digest $2 of the tenant $1.
select tenant_id, digest, form, author, seal from interlock.code
where (tenant_id, digest) > ($1, $2) order by tenant_id, digest limit $3;

-- name: reseal
update interlock.code set seal = $4 where tenant_id = $1 and digest = $2 and seal = $3;
