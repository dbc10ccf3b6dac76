-- The built-in user directory: accounts, their logins, and the refresh tokens of each login.
--
-- Only `interlock_access` works on these tables: a password is checked before anybody is a caller with claims, and no
-- caller ever reads a hash. Services name the tenant in every question about accounts of others.

do $$
begin
  if not exists (select from pg_roles where rolname = 'interlock_access') then
    create role interlock_access nologin noinherit;
  end if;
  if not pg_has_role(current_setting('interlock.server_role'), 'interlock_access', 'member') then
    execute format('grant interlock_access to %I', current_setting('interlock.server_role'))
      || case when current_setting('server_version_num')::int >= 160000 then ' with inherit false' else '' end;
  end if;
end $$;

grant usage on schema interlock to interlock_access;
grant execute on function interlock.now() to interlock_access;

create table interlock.users (
  user_id uuid primary key,
  tenant_id text not null check (tenant_id <> ''),
  email text not null check (email = lower(email)),
  role text not null check (role in ('viewer', 'member', 'admin')),
  user_metadata json not null default '{}',
  password_hash text not null,
  confirmed_at timestamptz,
  disabled_at timestamptz,
  last_login_at timestamptz,
  created_at timestamptz not null default interlock.now(),
  updated_at timestamptz not null default interlock.now()
);
create unique index users_by_email on interlock.users (email);
create index users_by_tenant on interlock.users (tenant_id, created_at, user_id);

-- What one password check opens. Its refresh tokens are a family: they end together.
create table interlock.logins (
  login_id uuid primary key,
  tenant_id text not null,
  user_id uuid not null references interlock.users on delete cascade,
  created_at timestamptz not null default interlock.now(),
  ended_at timestamptz
);
create index logins_by_tenant on interlock.logins (tenant_id);
create index logins_open on interlock.logins (user_id) where ended_at is null;

-- SHA-256 of each token; a used one stays, so that its second use is seen.
create table interlock.refresh_tokens (
  digest bytea primary key check (length(digest) = 32),
  login_id uuid not null references interlock.logins on delete cascade,
  tenant_id text not null,
  created_at timestamptz not null default interlock.now(),
  expires_at timestamptz not null,
  used_at timestamptz
);
create index refresh_tokens_by_tenant on interlock.refresh_tokens (tenant_id);
create index refresh_tokens_of_login on interlock.refresh_tokens (login_id);

-- Attempts to log in that have not succeeded, also for addresses without an account (tenant_id is empty then).
create table interlock.login_attempts (
  tenant_id text not null,
  email text not null,
  address text not null,
  at timestamptz not null default interlock.now()
);
create index login_attempts_by_tenant on interlock.login_attempts (tenant_id);
create index login_attempts_recent on interlock.login_attempts (email, address, at);
create index login_attempts_old on interlock.login_attempts (at);

do $$
declare
  walled text;
begin
  foreach walled in array array['users', 'logins', 'refresh_tokens', 'login_attempts'] loop
    execute format('alter table interlock.%I enable row level security', walled);
    execute format('alter table interlock.%I force row level security', walled);
    execute format(
      'revoke all on interlock.%I from public, anon, authenticated, interlock_engine, interlock_access', walled);
    execute format('create policy access on interlock.%I to interlock_access using (true) with check (true)', walled);
  end loop;
end $$;

grant select, insert, update on interlock.users to interlock_access;
grant select, insert, update, delete on interlock.logins, interlock.refresh_tokens to interlock_access;
grant select, insert, delete on interlock.login_attempts to interlock_access;
