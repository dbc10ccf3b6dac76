-- The parts of a blob in order; one of a single part, or stored before there were parts, is in its own row.
select coalesce(p.content, b.content) as content
from interlock.blobs b left join interlock.blob_parts p using (tenant_id, sha256)
where b.tenant_id = $1 and b.sha256 = $2 order by p.part
