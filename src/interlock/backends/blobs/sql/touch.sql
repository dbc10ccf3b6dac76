-- Makes a blob young again; a row if it is there. A blob that is being dropped just now is waited for.
update interlock.blobs set created_at = interlock.now() where tenant_id = $1 and sha256 = $2 returning true
