insert into interlock.blobs (tenant_id, sha256, size, content) values ($1, $2, $3, $4) on conflict do nothing
