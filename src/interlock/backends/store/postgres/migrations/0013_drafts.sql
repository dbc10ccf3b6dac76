-- Task graphs while they are built by calls: drafts, their tasks and what joins these. A tenant shares all of it. What
-- is run is frozen as a version first; the code of tasks lies elsewhere, here is only its digest.

create table interlock.drafts (
  tenant_id text not null,
  draft_id uuid not null primary key,
  name text not null default '',
  made_by text not null,
  versions int not null default 0,
  frozen uuid,  -- the version that says what the draft says now
  touched_at timestamptz not null default interlock.now(),
  unique (tenant_id, draft_id)
);
create index drafts_by_age on interlock.drafts (tenant_id, touched_at);

-- Without content until it is saved. Of two tasks the one with the smaller number was added first.
create table interlock.draft_tasks (
  tenant_id text not null,
  draft_id uuid not null,
  task_id text not null,
  number int not null,
  kind text not null,
  name text not null,
  content json,
  primary key (draft_id, task_id),
  foreign key (tenant_id, draft_id) references interlock.drafts (tenant_id, draft_id) on delete cascade
);

-- drawn: by a call of its own; implied: a reference of the target drew it; read: the target reads what the source gives.
create table interlock.draft_edges (
  tenant_id text not null,
  draft_id uuid not null,
  source text not null,
  target text not null,
  kind text not null check (kind in ('drawn', 'implied', 'read')),
  primary key (draft_id, source, target, kind),
  foreign key (tenant_id, draft_id) references interlock.drafts (tenant_id, draft_id) on delete cascade
);
create index draft_edges_by_target on interlock.draft_edges (draft_id, target);

do $$
declare
  walled text;
begin
  foreach walled in array array['drafts', 'draft_tasks', 'draft_edges'] loop
    execute format('alter table interlock.%I enable row level security', walled);
    execute format('alter table interlock.%I force row level security', walled);
    execute format('revoke all on interlock.%I from public, anon, authenticated, interlock_engine', walled);
    execute format('create policy of_tenant on interlock.%I to authenticated
      using (tenant_id = (select interlock.tenant())) with check (tenant_id = (select interlock.tenant()))', walled);
    execute format('grant select, insert, update, delete on interlock.%I to authenticated', walled);
  end loop;
end $$;
