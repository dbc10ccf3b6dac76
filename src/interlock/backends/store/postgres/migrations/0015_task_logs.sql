-- What users' code prints, and how it failed, line by line as far as lines were told together. It is no event: nothing
-- follows from it, and no door's numbers know of it. It goes when its execution goes.

create table interlock.task_logs (
  execution_id uuid not null,
  number bigint generated always as identity,  -- of an execution one process writes at a time, so that it is in order
  tenant_id text not null,
  private_to text,
  task_id text not null,
  attempt int not null,
  stream text not null check (stream in ('stdout', 'stderr')),
  content text not null check (octet_length(content) <= 61440),
  at timestamptz not null default interlock.now(),
  primary key (execution_id, number)
);
create index task_logs_by_task on interlock.task_logs (execution_id, task_id, number);
create index task_logs_by_tenant on interlock.task_logs (tenant_id);

alter table interlock.task_logs enable row level security;
alter table interlock.task_logs force row level security;
revoke all on interlock.task_logs from public, anon, authenticated, interlock_engine, interlock_access;

create policy read_own on interlock.task_logs for select to authenticated
  using (tenant_id = (select interlock.tenant())
    and (private_to is null or private_to = (select interlock.subject())));
create policy engine on interlock.task_logs to interlock_engine using (true) with check (true);

grant select on interlock.task_logs to authenticated;
grant select, insert on interlock.task_logs to interlock_engine;
