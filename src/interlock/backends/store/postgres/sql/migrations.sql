-- The record of applied migrations. Run as the owner.

-- name: wait_for_turn
-- Held by the session: of two migrators one waits.
select pg_advisory_lock(7305, 0);

-- name: may_read_record
-- No row if there is no record yet.
select has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select')
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'interlock' and c.relname = 'migrations';

-- name: become_caller
-- For the serving role, inside a transaction.
select set_config('role', 'authenticated', true);

-- name: schema_version
select interlock.schema_version();

-- name: make_record
-- Only the owner sees the record; everybody who may enter the schema may ask for the version alone.
create schema if not exists interlock;
revoke all on schema interlock from public;
create table interlock.migrations (
  number int primary key,
  name text not null,
  checksum text not null,
  applied_at timestamptz not null default clock_timestamp()
);
revoke all on interlock.migrations from public;
alter table interlock.migrations enable row level security;
alter table interlock.migrations force row level security;
create policy owner_only on interlock.migrations to current_user using (true) with check (true);
create function interlock.schema_version() returns int language sql stable security definer
set search_path = '' as $$ select coalesce(max(number), 0) from interlock.migrations $$;

-- name: applied
select number, name, checksum from interlock.migrations order by number;

-- name: record
insert into interlock.migrations (number, name, checksum) values ($1, $2, $3);

-- name: set_server_role
select set_config('interlock.server_role', $1, true);

-- name: server_role
-- Before Postgres 16 a role inherits all that it is granted, or nothing.
select rolcanlogin as can_login, rolsuper or rolbypassrls as is_unbound, rolname = current_user as is_owner,
  rolinherit and current_setting('server_version_num')::int < 160000 as inherits
from pg_roles where rolname = $1;
