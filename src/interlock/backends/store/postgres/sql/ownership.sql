-- Who owns which execution. Run as interlock_engine.

-- name: register
-- A new runner; its id is never used again. Gives the id and the database's clock.
with runner as (
  insert into interlock.runners (name, format) values ($1, $2) returning runner_id
), journal as (
  insert into interlock.journals (runner_id) select runner_id from runner returning runner_id
)
select runner_id, interlock.now() as now from journal;

-- name: lock_runner
-- Held by the runner's own session for as long as it lives; free means its process or connection is gone.
select pg_advisory_lock(7305, $1::int);

-- name: heartbeat
-- Renew; no row means this runner was reaped.
update interlock.runners set seen_at = interlock.now() where runner_id = $1 returning interlock.now() as now;

-- name: find_dead
-- Runners whose lease ($2) ran out, or whose lock is free and whose heartbeat is old enough ($3).
select r.runner_id, extract(epoch from interlock.now() - r.seen_at)::float as silent
from interlock.runners r
where r.runner_id <> $1
  and (r.seen_at < interlock.now() - $2::interval
    or (r.seen_at < interlock.now() - $3::interval and not exists (
      select from pg_locks l where l.locktype = 'advisory' and l.classid = 7305 and l.objid = r.runner_id::oid
        and l.database = (select oid from pg_database where datname = current_database()) and l.granted)));

-- name: reap
-- One dead runner ($1): its row goes, its executions are free, in one transaction. Its journal's row is locked
-- first, as a flush does: so it waits for an open flush and never holds what that one still needs.
with fence as materialized (
  select runner_id from interlock.journals where runner_id = $1 for update
), dead as (
  delete from interlock.runners
  where runner_id in (select runner_id from fence)
    and ($2::interval is null or seen_at < interlock.now() - $2::interval)
  returning runner_id
)
update interlock.live l set owner = null, epoch = epoch + 1, wake_at = interlock.now()
from dead where l.owner = dead.runner_id
returning l.execution_id;

-- name: orphans
-- Executions whose owner's row is gone: started by the flush that reaping waited for, or left by a restored backup.
update interlock.live l set owner = null, epoch = epoch + 1, wake_at = interlock.now()
where l.owner is not null and not exists (select from interlock.runners r where r.runner_id = l.owner)
returning l.execution_id;

-- name: namesakes
-- Earlier runners of one name: for a process that knows by a lock of its own that they are gone.
select runner_id from interlock.runners where name = $1 and runner_id <> $2;

-- name: runners
select runner_id, name, format, started_at, seen_at from interlock.runners order by runner_id;

-- name: claim
-- Tenant by tenant, then by priority and due time, never more than $2 in all and $3 a tenant, and of no tenant so many
-- that this runner has more than its share $4 of them, of which $7 are promised to $6. $5: highest event format known
-- here. A row without an execution names a tenant that has more due than there was room for. What a tenant has room for
-- is counted once: without its own step it would be counted for every row.
with recursive me as materialized (
  select runner_id from interlock.journals where runner_id = $1 for key share
), tenants as (
  (select tenant_id from interlock.live where owner is null and wake_at is not null order by tenant_id limit 1)
  union all
  select (select l.tenant_id from interlock.live l
    where l.owner is null and l.wake_at is not null and l.tenant_id > t.tenant_id order by l.tenant_id limit 1)
  from tenants t where t.tenant_id is not null
), rooms as materialized (
  select t.tenant_id, greatest(0, least($3, $4
    - (select count(*) from interlock.live o where o.owner = $1 and o.tenant_id = t.tenant_id)
    - coalesce((select p.count from unnest($6::text[], $7::int[]) as p(tenant_id, count)
        where p.tenant_id = t.tenant_id), 0)))::int as room
  from tenants t where t.tenant_id is not null
), due as materialized (
  select d.execution_id, r.tenant_id, r.room,
    row_number() over (partition by r.tenant_id order by d.priority desc, d.wake_at) as turn
  from rooms r
  cross join lateral (
    select p.priority from generate_series(9, 0, -1) as p(priority)
  ) p
  cross join lateral (
    select l.execution_id, l.priority, l.wake_at from interlock.live l
    where l.tenant_id = r.tenant_id and l.priority = p.priority and l.owner is null
      and l.wake_at <= interlock.now() and l.format <= $5
    order by l.wake_at limit r.room + 1
  ) d
), chosen as (
  select l.execution_id from interlock.live l
  where l.owner is null and l.execution_id in (
    select execution_id from due where turn <= room order by turn limit $2)
  for update skip locked
), claimed as (
  update interlock.live l set owner = $1, epoch = l.epoch + 1, wake_at = null, format = greatest(l.format, $5)
  from chosen, me where l.execution_id = chosen.execution_id
  returning l.execution_id, l.tenant_id, l.epoch, l.inbox_seq
)
select execution_id, tenant_id, epoch, inbox_seq from claimed
union all
select null, tenant_id, null, null from due where turn > room group by tenant_id;

-- name: next_due
select min(wake_at) as wake_at, interlock.now() as now from interlock.live where owner is null and wake_at is not null;

-- name: poll_owned
-- What this runner owns and how far each inbox goes: the safety net under all hints.
select execution_id, inbox_seq from interlock.live where owner = $1;

-- name: queue_depths
-- Tenants with executions that are due and nobody's, and how many: of each priority no more than $1 are counted.
with recursive tenants as (
  (select tenant_id from interlock.live where owner is null and wake_at is not null order by tenant_id limit 1)
  union all
  select (select l.tenant_id from interlock.live l
    where l.owner is null and l.wake_at is not null and l.tenant_id > t.tenant_id order by l.tenant_id limit 1)
  from tenants t where t.tenant_id is not null
)
select t.tenant_id, count(*)::int as due
from tenants t
cross join generate_series(0, 9) as p(priority)
cross join lateral (
  select from interlock.live l
  where l.tenant_id = t.tenant_id and l.priority = p.priority and l.owner is null and l.wake_at <= interlock.now()
  limit $1
) d
where t.tenant_id is not null
group by t.tenant_id;
