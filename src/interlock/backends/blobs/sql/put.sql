-- A blob of one part. $1 tenant, $2 SHA-256, $3 size, $4 content.
insert into interlock.blobs (tenant_id, sha256, size, content) values ($1, $2, $3, $4) on conflict do nothing
