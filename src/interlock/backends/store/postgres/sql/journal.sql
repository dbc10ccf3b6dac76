-- What the journal asks besides its flush. Run as interlock_engine.

-- name: last_flush
-- Which flush of this runner was committed last; no row if it was reaped.
select flushed from interlock.journals where runner_id = $1;

-- name: missing_starts
select s.id from unnest($1::uuid[]) as s(id)
where not exists (select from interlock.executions x where x.execution_id = s.id);

-- name: not_owned
select s.id from unnest($2::uuid[]) as s(id)
where not exists (select from interlock.live l where l.execution_id = s.id and l.owner = $1);

-- name: settings
select current_setting('synchronous_commit') as synchronous_commit, current_setting('fsync') as fsync,
  current_setting('full_page_writes') as full_page_writes, current_setting('server_version_num')::int as version,
  (select rolsuper or rolbypassrls from pg_roles where rolname = session_user) as is_super,
  (select pg_get_userbyid(nspowner) = session_user from pg_namespace where nspname = 'interlock') as is_owner;
