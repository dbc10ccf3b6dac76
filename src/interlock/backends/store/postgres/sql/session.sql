-- The frame around every query of a caller, and what is asked of a login role before it serves.

-- name: begin_read
-- $1 becomes a quoted literal: a transaction, its role, its claims and its deadline in one round trip.
begin read only; select set_config('role', 'authenticated', true), set_config('request.jwt.claims', $1, true),
  set_config('statement_timeout', '8000', true);

-- name: begin_write
begin; select set_config('role', 'authenticated', true), set_config('request.jwt.claims', $1, true),
  set_config('statement_timeout', '8000', true);

-- name: commit
commit;

-- name: rollback
rollback;

-- name: plan_by_values
-- Lists have many optional conditions: the plan must know which of them are there.
select set_config('plan_cache_mode', 'force_custom_plan', true);

-- name: self_check
select session_user::text as role,
  current_setting('standard_conforming_strings') = 'on' as quotes_are_plain,
  (select rolsuper or rolbypassrls from pg_roles where rolname = session_user) as is_unbound,
  to_regnamespace('interlock') is not null and to_regrole('authenticated') is not null
    and to_regrole('interlock_engine') is not null as is_migrated,
  exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'interlock' and pg_has_role(session_user, c.relowner, 'usage')) as is_owner,
  coalesce(pg_has_role(session_user, to_regrole('authenticated'), 'member'), false) as may_serve,
  coalesce(pg_has_role(session_user, to_regrole('interlock_access'), 'member'), false) as may_decide,
  coalesce(pg_has_role(session_user, to_regrole('interlock_engine'), 'usage'), false)
    or coalesce(pg_has_role(session_user, to_regrole('interlock_access'), 'usage'), false) as inherits_engine;

-- name: readiness
select not pg_is_in_recovery() and current_setting('transaction_read_only') = 'off' as takes_writes,
  interlock.schema_version() as version;
