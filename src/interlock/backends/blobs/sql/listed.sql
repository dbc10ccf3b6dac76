-- $3 blobs behind the SHA-256 $2 of the tenant $1.
select tenant_id, sha256, created_at from interlock.blobs
where (tenant_id, sha256) > ($1, $2) order by tenant_id, sha256 limit $3
