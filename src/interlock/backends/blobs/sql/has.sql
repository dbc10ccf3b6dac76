select exists (select from interlock.blobs where tenant_id = $1 and sha256 = $2)
