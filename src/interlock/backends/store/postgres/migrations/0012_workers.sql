-- Machines that were announced as workers. They serve the installation; the tenant is whose they are to take away.

create table interlock.workers (
  worker_id text primary key check (length(worker_id) between 1 and 128),
  tenant_id text not null,
  address text not null,
  capacity json not null,
  drain_at timestamptz,  -- from then on its tasks run elsewhere; null: it is not to be emptied
  announced_at timestamptz not null default interlock.now(),
  last_seen_at timestamptz not null
);
create index workers_by_tenant on interlock.workers (tenant_id);

alter table interlock.workers enable row level security;
alter table interlock.workers force row level security;
revoke all on interlock.workers from public, anon, authenticated, interlock_access, interlock_engine;

create policy engine on interlock.workers to interlock_engine using (true) with check (true);
grant select, insert, update, delete on interlock.workers to interlock_engine;
