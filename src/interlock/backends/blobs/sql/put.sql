-- A blob of one part; one that is there already is young again. $1 tenant, $2 SHA-256, $3 size, $4 content.
insert into interlock.blobs as b (tenant_id, sha256, size, content) values ($1, $2, $3, $4)
on conflict (tenant_id, sha256) do update set created_at = interlock.now()
where b.created_at < interlock.now() - interval '1 hour'
