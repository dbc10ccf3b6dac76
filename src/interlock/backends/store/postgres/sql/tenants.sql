-- Tenants, for all of them. Run as interlock_access.

-- name: note_tenants
insert into interlock.tenants (tenant_id) select unnest($1::text[]) on conflict do nothing;

-- name: disabled_tenants
select tenant_id from interlock.tenants where disabled_at is not null;

-- name: list_tenants
-- $1 only this one, $2 beginning of the name, $3 whether disabled, $4 behind this one, $5 limit; null means all.
select tenant_id, title, created_at, disabled_at from interlock.tenants
where ($1::text is null or tenant_id = $1)
  and ($2::text is null or starts_with(tenant_id, $2))
  and ($3::boolean is null or (disabled_at is not null) = $3)
  and ($4::text is null or tenant_id > $4)
order by tenant_id limit $5;

-- name: count_tenants
-- $4: count no further.
select count(*) from (
  select from interlock.tenants
  where ($1::text is null or tenant_id = $1)
    and ($2::text is null or starts_with(tenant_id, $2))
    and ($3::boolean is null or (disabled_at is not null) = $3)
  limit $4
) counted;

-- name: find_tenant
select tenant_id, title, created_at, disabled_at,
  (select count(*) from interlock.users u where u.tenant_id = t.tenant_id) as users,
  (select count(*) from interlock.api_keys k where k.tenant_id = t.tenant_id) as api_keys
from interlock.tenants t where tenant_id = $1;

-- name: add_tenant
insert into interlock.tenants (tenant_id, title) values ($1, $2) on conflict do nothing returning true;

-- name: change_tenant
-- Null leaves a column as it is. $3: disable it, or let it in again.
update interlock.tenants set
  title = coalesce($2::text, title),
  disabled_at = case when $3::boolean then coalesce(disabled_at, interlock.now()) when not $3::boolean then null
    else disabled_at end
where tenant_id = $1
returning true;
