-- A blob with its parts, unless it was stored at $3 or later. $1 tenant, $2 SHA-256.
with gone as (
  delete from interlock.blobs where tenant_id = $1 and sha256 = $2 and created_at < $3 returning tenant_id, sha256
), parts as (
  delete from interlock.blob_parts p using gone where p.tenant_id = gone.tenant_id and p.sha256 = gone.sha256
)
select true from gone
