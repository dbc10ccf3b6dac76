-- Announced workers. Run as interlock_engine. A worker is lost after 30 seconds without a sign of life.

-- name: announce
-- $1 worker, $2 tenant, $3 address, $4 capacity, $5 how many the tenant may have, $6 whether it is only a refresh.
-- What is nobody's, the installation's own tenant takes over.
insert into interlock.workers as w (worker_id, tenant_id, address, capacity, last_seen_at)
select $1, $2, $3, $4::json, interlock.now()
where exists (select from interlock.workers where worker_id = $1)
  or (select count(*) from interlock.workers where tenant_id = $2) < $5
on conflict (worker_id) do update
set tenant_id = excluded.tenant_id, address = excluded.address, capacity = excluded.capacity,
  drain_at = case when $6::boolean then w.drain_at end, last_seen_at = excluded.last_seen_at
where w.tenant_id = excluded.tenant_id or (w.tenant_id = '' and excluded.tenant_id = 'default')
returning worker_id, tenant_id, address, capacity, drain_at, last_seen_at,
  coalesce(drain_at <= interlock.now(), false) as is_drained, false as is_lost;

-- name: follow
-- $1 worker, $2 address, $3 capacity. Nobody's, whose tenant is empty.
insert into interlock.workers as w (worker_id, tenant_id, address, capacity, last_seen_at)
values ($1, '', $2, $3::json, interlock.now())
on conflict (worker_id) do update
set address = excluded.address, capacity = excluded.capacity, last_seen_at = excluded.last_seen_at
where w.tenant_id = '';

-- name: drain
-- $1 worker, $2 tenant or null, $3 grace.
update interlock.workers set drain_at = least(drain_at, interlock.now() + $3)
where worker_id = $1 and ($2::text is null or tenant_id = $2 or (tenant_id = '' and $2 = 'default'))
returning worker_id, tenant_id, address, capacity, drain_at, last_seen_at, drain_at <= interlock.now() as is_drained,
  last_seen_at < interlock.now() - interval '30 seconds' as is_lost;

-- name: workers
-- $1 tenant or null.
select worker_id, tenant_id, address, capacity, drain_at, last_seen_at,
  coalesce(drain_at <= interlock.now(), false) as is_drained,
  last_seen_at < interlock.now() - interval '30 seconds' as is_lost
from interlock.workers where $1::text is null or tenant_id = $1 or (tenant_id = '' and $1 = 'default')
order by worker_id;

-- name: see
update interlock.workers set last_seen_at = interlock.now() where worker_id = any($1::text[]);

-- name: forget
delete from interlock.workers where last_seen_at < interlock.now() - interval '1 day';
