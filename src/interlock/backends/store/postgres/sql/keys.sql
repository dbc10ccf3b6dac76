-- API keys of one tenant. Run as authenticated, under claims; the digest is not among what may be read.

-- name: list_keys
-- $1 a part of the client's name, $2 whether it is good now, $3 limit, $4 offset; null means all.
select key_id, public_id, tenant_id, client_name, scopes, tier, signing, last4, allowed_tools, allowed_models,
  created_at, created_by, expires_at, revoked_at, replaced_by, payer, last_used_at
from interlock.api_keys
where tenant_id = (select interlock.tenant())
  and ($1::text is null or strpos(lower(client_name), lower($1)) > 0)
  and ($2::boolean is null
    or (revoked_at is null and (expires_at is null or expires_at > interlock.now())) = $2)
order by created_at desc, key_id limit $3 offset $4;

-- name: count_keys
select count(*) from interlock.api_keys
where tenant_id = (select interlock.tenant())
  and ($1::text is null or strpos(lower(client_name), lower($1)) > 0)
  and ($2::boolean is null
    or (revoked_at is null and (expires_at is null or expires_at > interlock.now())) = $2);

-- name: find_own_key
-- By id or public id.
select key_id, public_id, tenant_id, client_name, scopes, tier, signing, last4, allowed_tools, allowed_models,
  created_at, created_by, expires_at, revoked_at, replaced_by, payer, last_used_at
from interlock.api_keys
where tenant_id = (select interlock.tenant()) and (public_id = $1 or key_id::text = lower($1));

-- name: add_key
insert into interlock.api_keys (key_id, public_id, tenant_id, client_name, scopes, tier, signing, digest, last4,
  allowed_tools, allowed_models, created_at, created_by, expires_at, payer)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15);

-- name: replace_key
update interlock.api_keys set replaced_by = $2, expires_at = $3 where key_id = $1 and replaced_by is null
returning true;

-- name: revoke_key
update interlock.api_keys set revoked_at = $2 where key_id = $1 and revoked_at is null;
