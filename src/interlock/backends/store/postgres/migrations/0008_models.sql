-- Budgets of model calls and their ledger. Money is whole nanodollars.
--
-- Every call counts in its holder's budget and in its tenant's, and a slice is leased from both at once.
-- At every moment, of every budget: leased = what the slices leased from it were granted and have not spent, and
-- spent + leased <= cap, unless the cap was lowered afterwards or a call cost more than was set aside for it.

create table interlock.budgets (
  budget_id uuid primary key,
  tenant_id text not null,
  holder text not null,  -- an API key's id or a person; empty: the tenant
  cap bigint check (cap >= 0),  -- null: it was removed, and what is under way is still settled in it
  spent bigint not null default 0,
  leased bigint not null default 0,
  created_at timestamptz not null default interlock.now(),
  updated_at timestamptz not null default interlock.now(),
  unique (tenant_id, holder)
) with (fillfactor = 50);

-- What one process may spend until its lease ends.
create table interlock.budget_slices (
  slice_id uuid primary key,
  budget_id uuid not null references interlock.budgets on delete cascade,
  tenant_budget_id uuid references interlock.budgets on delete cascade,  -- where that is another one
  tenant_id text not null,
  granted bigint not null,
  spent bigint not null default 0,
  expires_at timestamptz not null
) with (fillfactor = 50);
create index budget_slices_of_budget on interlock.budget_slices (budget_id);
create index budget_slices_of_tenant_budget on interlock.budget_slices (tenant_budget_id);
create index budget_slices_by_tenant on interlock.budget_slices (tenant_id);
create index budget_slices_expiry on interlock.budget_slices (expires_at);

-- The ledger: one row for every call. With a budget it is there while the call is under way, as a hold.
create table interlock.model_calls (
  call_id uuid primary key,
  tenant_id text not null,
  subject text not null,
  budget_id uuid,
  slice_id uuid,
  provider text not null,
  model text not null,
  kind text not null check (kind in ('chat', 'embeddings')),
  status text not null check (status in ('held', 'settled', 'crashed')),
  estimate bigint not null,
  cost bigint not null default 0,
  input_tokens bigint not null default 0,
  output_tokens bigint not null default 0,
  is_estimated boolean not null default false,
  trace_id text not null default '',
  held_at timestamptz not null,
  settled_at timestamptz
) with (fillfactor = 80);
create index model_calls_newest on interlock.model_calls (tenant_id, call_id desc);
create index model_calls_held on interlock.model_calls (slice_id) where status = 'held';

-- What models answered under a key: to a task, whose attempt after a crash neither asks nor pays again, or to a
-- request with an Idempotency-Key. While the answer is being made, claim_id says by whom.
create table interlock.model_results (
  tenant_id text not null,
  effect_key text not null,
  digest text not null,  -- of what was asked; empty for tasks, which always ask the same
  claim_id uuid,
  answer bytea,
  created_at timestamptz not null default interlock.now(),
  expires_at timestamptz not null,
  primary key (tenant_id, effect_key)
);
create index model_results_expiry on interlock.model_results (expires_at);
create index model_results_claimed on interlock.model_results (claim_id) where answer is null;

do $$
declare
  walled text;
begin
  foreach walled in array array['budgets', 'budget_slices', 'model_calls', 'model_results'] loop
    execute format('alter table interlock.%I enable row level security', walled);
    execute format('alter table interlock.%I force row level security', walled);
    execute format('revoke all on interlock.%I from public, anon, authenticated, interlock_engine', walled);
  end loop;
end $$;

-- Money is the engine's: no caller's claims reach these tables, and every statement on them names its tenant.
create policy engine on interlock.budgets to interlock_engine using (true) with check (true);
create policy engine on interlock.budget_slices to interlock_engine using (true) with check (true);
create policy engine on interlock.model_calls to interlock_engine using (true) with check (true);
create policy engine on interlock.model_results to interlock_engine using (true) with check (true);
grant select, insert, update on interlock.budgets, interlock.model_calls to interlock_engine;
grant select, insert, update, delete on interlock.budget_slices, interlock.model_results to interlock_engine;
