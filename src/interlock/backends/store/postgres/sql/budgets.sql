-- Budgets, their slices, and the ledger of model calls. Run as interlock_engine.

-- name: budgets_of
-- The holder's own comes before the tenant's.
select budget_id, tenant_id, holder, cap, spent, leased from interlock.budgets
where tenant_id = $1 and holder in ($2, '') and cap is not null order by holder = '';

-- name: set_budget
-- One that was removed begins again at nothing; what is leased from it still is.
insert into interlock.budgets as b (budget_id, tenant_id, holder, cap) values ($1, $2, $3, $4)
on conflict (tenant_id, holder) do update set cap = excluded.cap, spent = case when b.cap is null then 0 else b.spent end,
  updated_at = interlock.now()
returning budget_id, tenant_id, holder, cap, spent, leased;

-- name: remove_budget
update interlock.budgets set cap = null, updated_at = interlock.now()
where tenant_id = $1 and holder = $2 and cap is not null returning true;

-- name: list_budgets
select budget_id, tenant_id, holder, cap, spent, leased from interlock.budgets
where tenant_id = $1 and cap is not null order by holder;

-- name: starter_of
select user_id from interlock.executions where tenant_id = $1 and execution_id = $2;

-- name: recall
select answer from interlock.model_results where tenant_id = $1 and effect_key = $2 and answer is not null;

-- name: claim
-- No row comes back if another claim was committed in between.
with ours as (
  insert into interlock.model_results as r (tenant_id, effect_key, digest, claim_id, expires_at)
  values ($1, $2, $3, $4, interlock.now() + make_interval(secs => $5))
  on conflict (tenant_id, effect_key) do update set digest = excluded.digest, claim_id = excluded.claim_id,
    answer = null, created_at = interlock.now(), expires_at = excluded.expires_at
  where r.expires_at < interlock.now()
  returning digest
)
select digest, null::bytea as answer, true as is_ours from ours
union all
select digest, answer, false from interlock.model_results
where tenant_id = $1 and effect_key = $2 and not exists (select from ours);

-- name: renew_claims
update interlock.model_results set expires_at = interlock.now() + make_interval(secs => $2)
where claim_id = any($1::uuid[]) and answer is null;

-- name: release
delete from interlock.model_results
where tenant_id = $1 and effect_key = $2 and claim_id = $3 and answer is null;

-- name: purge
delete from interlock.model_results where (tenant_id, effect_key) in (
  select tenant_id, effect_key from interlock.model_results where expires_at < interlock.now()
  order by expires_at limit $1 for update skip locked)
returning 1;

-- name: take_slice
-- At least $3, of the budget and of its tenant's; more while there is plenty in both, so that processes come back
-- seldom and hold little near the end. Rows of budgets are locked in one order everywhere. From one that was removed,
-- which a process may not know for some seconds, everybody gets what is needed and little more.
with concerned as materialized (
  select budget_id, tenant_id, holder, coalesce(cap, $3::bigint * 32) as cap,
    case when cap is null then $3::bigint else cap - spent - leased end as room from interlock.budgets
  where (budget_id = $1 or (holder = '' and cap is not null))
    and tenant_id = (select tenant_id from interlock.budgets where budget_id = $1)
  order by budget_id for update
), part as (
  select greatest($3::bigint, min(least(cap / 32, room / 8))) as granted from concerned having min(room) >= $3::bigint
), grown as (
  update interlock.budgets b set leased = b.leased + part.granted
  from concerned c, part where b.budget_id = c.budget_id
)
insert into interlock.budget_slices (slice_id, budget_id, tenant_budget_id, tenant_id, granted, expires_at)
select $2, own.budget_id, (select budget_id from concerned where budget_id <> $1), own.tenant_id, part.granted,
  interlock.now() + make_interval(secs => $4)
from concerned own, part where own.budget_id = $1
returning granted;

-- name: write
-- Holds are entered, calls are settled; a call that was settled already stays as it is, and costs nothing again.
-- Answers are kept in the same commit: what is paid for under a key is there.
with given as (
  select g.* from json_to_recordset($1::json) as g(call_id uuid, tenant_id text, subject text, budget_id uuid,
    slice_id uuid, provider text, model text, kind text, status text, estimate bigint, cost bigint,
    input_tokens bigint, output_tokens bigint, is_estimated bool, trace_id text, at timestamptz)
), written as (
  insert into interlock.model_calls as c (call_id, tenant_id, subject, budget_id, slice_id, provider, model, kind,
    status, estimate, cost, input_tokens, output_tokens, is_estimated, trace_id, held_at, settled_at)
  select call_id, tenant_id, subject, budget_id, slice_id, provider, model, kind, status, estimate, cost,
    input_tokens, output_tokens, is_estimated, trace_id, at,
    case when status = 'settled' then interlock.now() end
  from given
  on conflict (call_id) do update set status = excluded.status, provider = excluded.provider, model = excluded.model,
    cost = excluded.cost, input_tokens = excluded.input_tokens, output_tokens = excluded.output_tokens,
    is_estimated = excluded.is_estimated, settled_at = excluded.settled_at
  where c.status = 'held' and excluded.status = 'settled'
  returning c.budget_id, c.slice_id, c.cost, c.status
), kept as (
  insert into interlock.model_results as r (tenant_id, effect_key, digest, claim_id, answer, expires_at)
  select tenant_id, effect_key, '', claim_id, answer, interlock.now() + make_interval(secs => seconds)
  from unnest($2::text[], $3::text[], $4::uuid[], $5::bytea[], $6::float8[])
    as k(tenant_id, effect_key, claim_id, answer, seconds)
  where claim_id is null
  on conflict (tenant_id, effect_key) do nothing
), filled as (
  update interlock.model_results r set answer = k.answer, expires_at = interlock.now() + make_interval(secs => k.seconds)
  from unnest($2::text[], $3::text[], $4::uuid[], $5::bytea[], $6::float8[])
    as k(tenant_id, effect_key, claim_id, answer, seconds)
  where r.tenant_id = k.tenant_id and r.effect_key = k.effect_key and r.claim_id = k.claim_id and r.answer is null
), paid as (
  select budget_id, slice_id, sum(cost)::bigint as cost from written
  where status = 'settled' and budget_id is not null group by budget_id, slice_id
), from_slices as (
  update interlock.budget_slices s set spent = s.spent + p.cost from paid p where s.slice_id = p.slice_id
  returning s.slice_id, s.budget_id, s.tenant_budget_id
), due as (
  select t.budget_id, p.cost, case when t.budget_id in (f.budget_id, f.tenant_budget_id) then p.cost else 0 end as leased
  from paid p
  join interlock.budgets own on own.budget_id = p.budget_id
  join interlock.budgets t on t.tenant_id = own.tenant_id and t.holder in (own.holder, '')
  left join from_slices f on f.slice_id = p.slice_id
), locked as materialized (
  select budget_id from interlock.budgets where budget_id in (select budget_id from due) order by budget_id for update
)
update interlock.budgets b set spent = b.spent + t.cost, leased = b.leased - t.leased, updated_at = interlock.now()
from locked
join (select budget_id, sum(cost)::bigint as cost, sum(leased)::bigint as leased from due group by budget_id) t
  using (budget_id)
where b.budget_id = locked.budget_id;

-- name: renew
update interlock.budget_slices set expires_at = interlock.now() + make_interval(secs => $2)
where slice_id = any($1::uuid[]) and expires_at > interlock.now() returning slice_id;

-- name: expire
update interlock.budget_slices set expires_at = '-infinity' where slice_id = any($1::uuid[]);

-- name: sweep
-- Slices whose lease is over: their holds settle at the estimate, the rest goes back to the budget.
with due as (
  select slice_id from interlock.budget_slices where expires_at < interlock.now() for update skip locked
), gone as (
  delete from interlock.budget_slices s using due where s.slice_id = due.slice_id
  returning s.slice_id, s.budget_id, s.tenant_budget_id, s.granted - s.spent as rest
), crashed as (
  update interlock.model_calls c set status = 'crashed', cost = c.estimate, is_estimated = true,
    settled_at = interlock.now()
  from gone g where c.slice_id = g.slice_id and c.status = 'held'
  returning c.slice_id, c.estimate
), changes as (
  select t.budget_id, coalesce(c.cost, 0) as cost,
    case when t.budget_id in (g.budget_id, g.tenant_budget_id) then g.rest else 0 end as rest
  from gone g
  join interlock.budgets own on own.budget_id = g.budget_id
  join interlock.budgets t on t.tenant_id = own.tenant_id and t.holder in (own.holder, '')
  left join (select slice_id, sum(estimate) as cost from crashed group by slice_id) c on c.slice_id = g.slice_id
), locked as materialized (
  select budget_id from interlock.budgets where budget_id in (select budget_id from changes)
  order by budget_id for update
), returned as (
  update interlock.budgets b set spent = b.spent + t.cost, leased = b.leased - t.rest, updated_at = interlock.now()
  from locked
  join (select budget_id, sum(cost)::bigint as cost, sum(rest)::bigint as rest from changes group by budget_id) t
    using (budget_id)
  where b.budget_id = locked.budget_id
)
select count(*) from gone;
