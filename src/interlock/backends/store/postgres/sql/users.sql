-- Accounts, logins and failed attempts. Run as interlock_access; nothing here reads a caller's claims.

-- name: begin
begin; select set_config('role', 'interlock_access', true), set_config('statement_timeout', '8000', true);

-- name: commit
commit;

-- name: add
insert into interlock.users (user_id, tenant_id, email, role, user_metadata, password_hash, confirmed_at, created_at,
  updated_at)
values ($1, $2, $3, $4, $5::text::json, $6, $7, $8, $8);

-- name: note_tenant
insert into interlock.tenants (tenant_id) values ($1) on conflict do nothing;

-- name: find
select user_id, tenant_id, email, role, user_metadata, confirmed_at, disabled_at, last_login_at, created_at, updated_at,
  password_hash
from interlock.users where email = $1;

-- name: get
select user_id, tenant_id, email, role, user_metadata, confirmed_at, disabled_at, last_login_at, created_at, updated_at
from interlock.users where user_id = $1;

-- name: list
-- $1 tenant, $2 a part of the address, $3 role, $4 state, $5 limit, $6 offset; null means all.
select user_id, tenant_id, email, role, user_metadata, confirmed_at, disabled_at, last_login_at, created_at, updated_at
from interlock.users
where ($1::text is null or tenant_id = $1)
  and ($2::text is null or strpos(email, lower($2)) > 0)
  and ($3::text is null or role = $3)
  and ($4::text is null or $4 = case when disabled_at is not null then 'disabled'
    when confirmed_at is null then 'unconfirmed' else 'ready' end)
order by created_at, user_id limit $5 offset $6;

-- name: count
select count(*) from interlock.users
where ($1::text is null or tenant_id = $1)
  and ($2::text is null or strpos(email, lower($2)) > 0)
  and ($3::text is null or role = $3)
  and ($4::text is null or $4 = case when disabled_at is not null then 'disabled'
    when confirmed_at is null then 'unconfirmed' else 'ready' end);

-- name: set_password
update interlock.users set password_hash = $2, updated_at = interlock.now() where user_id = $1;

-- name: set_metadata
update interlock.users set user_metadata = $2::text::json, updated_at = interlock.now() where user_id = $1
returning user_id, tenant_id, email, role, user_metadata, confirmed_at, disabled_at, last_login_at, created_at,
  updated_at;

-- name: administer
-- Null leaves a column as it is. $4: confirm it; $5: disable it, or let it in again.
update interlock.users set
  role = coalesce($3::text, role),
  confirmed_at = case when $4::boolean then coalesce(confirmed_at, interlock.now()) else confirmed_at end,
  disabled_at = case when $5::boolean then coalesce(disabled_at, interlock.now()) when not $5::boolean then null else disabled_at end,
  updated_at = interlock.now()
where tenant_id = $1 and user_id = $2
returning user_id, tenant_id, email, role, user_metadata, confirmed_at, disabled_at, last_login_at, created_at,
  updated_at;

-- name: sign_up_again
-- $2: nobody may have asked in the last time of this length, so that an address is not flooded.
update interlock.users set updated_at = interlock.now()
where email = $1 and confirmed_at is null and disabled_at is null and updated_at <= interlock.now() - $2::interval
returning user_id, tenant_id, email, role, user_metadata, confirmed_at, disabled_at, last_login_at, created_at,
  updated_at;

-- name: confirm
-- Of those who signed up with an address, whoever opens the link that was mailed there has it, with their own password.
update interlock.users set
  confirmed_at = interlock.now(),
  user_metadata = case when password_hash = $2 then user_metadata else '{}' end,
  password_hash = $2,
  updated_at = interlock.now()
where user_id = $1 and confirmed_at is null
returning user_id, tenant_id, email, role, user_metadata, confirmed_at, disabled_at, last_login_at, created_at,
  updated_at;

-- name: lock_attempts
-- One caller at a time counts for an account and address; the count is a statement of its own, so it sees the others'.
select pg_advisory_xact_lock(hashtextextended($1::text || chr(10) || $2::text, 7305));

-- name: begin_attempt
-- Null if the attempt may go on; else the seconds until the oldest of those that count is forgotten.
with recent as (
  select at from interlock.login_attempts
  where email = $2 and address = $3 and at > interlock.now() - $4::interval
), noted as (
  insert into interlock.login_attempts (tenant_id, email, address, at)
  select $1::text, $2::text, $3::text, interlock.now() where (select count(*) from recent) < $5::bigint
)
select case when count(*) >= $5::bigint then extract(epoch from min(at) + $4::interval - interlock.now())::float8 end
from recent;

-- name: forgive_attempts
delete from interlock.login_attempts where email = $1 and address = $2;

-- name: forget_attempts
delete from interlock.login_attempts where at <= interlock.now() - $1::interval;

-- name: forget_refresh_tokens
-- Of this account, those too old to be of use.
delete from interlock.refresh_tokens t using interlock.logins l
where l.login_id = t.login_id and l.user_id = $1 and t.expires_at <= interlock.now();

-- name: forget_logins
-- Of this account, those that ended longer ago than any access token lives, and those without a refresh token.
delete from interlock.logins l
where l.user_id = $1 and (l.ended_at <= interlock.now() - $2::interval
  or not exists (select from interlock.refresh_tokens t where t.login_id = l.login_id));

-- name: open_login
insert into interlock.logins (login_id, tenant_id, user_id) values ($1, $2, $3);

-- name: note_login
update interlock.users set last_login_at = interlock.now() where user_id = $1;

-- name: add_refresh_token
insert into interlock.refresh_tokens (digest, login_id, tenant_id, expires_at) values ($1, $2, $3, $4);

-- name: lock_login
-- The login of a refresh token, locked: of two callers with one token the second sees what the first did.
select login_id from interlock.logins
where login_id = (select t.login_id from interlock.refresh_tokens t where t.digest = $1)
for update;

-- name: refresh_token
select t.used_at is not null as is_used, t.expires_at <= interlock.now() as is_old, l.ended_at is not null as has_ended,
  u.user_id, u.tenant_id, u.email, u.role, u.user_metadata, u.confirmed_at, u.disabled_at, u.last_login_at,
  u.created_at, u.updated_at
from interlock.refresh_tokens t
join interlock.logins l on l.login_id = t.login_id
join interlock.users u on u.user_id = l.user_id
where t.digest = $1;

-- name: use_refresh_token
update interlock.refresh_tokens set used_at = interlock.now() where digest = $1;

-- name: end_logins
-- Of $1 only $2, or all but $3, or all.
update interlock.logins set ended_at = interlock.now()
where user_id = $1 and ended_at is null and ($2::uuid is null or login_id = $2) and login_id is distinct from $3::uuid;

-- name: standing
select u.tenant_id, u.email, u.role,
  l.ended_at is null and u.disabled_at is null and u.confirmed_at is not null as is_good
from interlock.logins l join interlock.users u on u.user_id = l.user_id
where u.user_id = $1 and l.login_id = $2;
