-- A blob of several parts, all in one statement: it is there whole or not at all. $1 tenant, $2 SHA-256, $3 size,
-- $4 the parts in order.
with blob as (
  insert into interlock.blobs (tenant_id, sha256, size) values ($1, $2, $3) on conflict do nothing returning sha256
)
insert into interlock.blob_parts (tenant_id, sha256, part, content)
select $1, blob.sha256, given.part, given.content
from blob, unnest($4::bytea[]) with ordinality as given(content, part)
