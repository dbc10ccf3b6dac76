-- What refers to blobs and code. Run as interlock_engine.

-- name: unreferenced
-- Those of the SHA-256 in $1 that no row of any tenant refers to.
select s.sha256 from unnest($1::text[]) s(sha256)
where not exists (
    select from interlock.events e
    where e.refs is not null and interlock.digests_of(e.refs) @> array[s.sha256])
  and not exists (
    select from interlock.executions x
    where x.input_refs is not null and interlock.digests_of(x.input_refs) @> array[s.sha256])
  and not exists (
    select from interlock.executions x
    where x.output_refs is not null and interlock.digests_of(x.output_refs) @> array[s.sha256])
  and not exists (
    select from interlock.inbox i
    where i.kind = 'child_ended' and interlock.digests_of(i.payload -> 'refs') @> array[s.sha256])
  and not exists (select from interlock.artifacts a where a.sha256 = s.sha256);

-- name: drop_code
-- Of $3 pieces behind ($1, $2) those that are older than $4 and that no draft, no version and no execution names (of
-- those that have ended: in a small input); the last piece that was looked at, and how many went. No row at the end.
with page as materialized (
  select c.tenant_id, c.digest, c.created_at from interlock.code c
  where (c.tenant_id, c.digest) > ($1, $2) order by c.tenant_id, c.digest limit $3
), named as materialized (
  select distinct l.tenant_id, d.digest
  from interlock.live l
  join interlock.executions x on x.execution_id = l.execution_id
  cross join lateral unnest(interlock.digests_in(x.input)) d(digest)
  where x.input is not null and l.tenant_id in (
    select p.tenant_id from page p where p.created_at < interlock.now() - $4::interval)
), gone as (
  delete from interlock.code c using page p
  where c.tenant_id = p.tenant_id and c.digest = p.digest and c.created_at < interlock.now() - $4::interval
    and not exists (
      select from interlock.draft_tasks t
      where t.content is not null and t.tenant_id = c.tenant_id and t.content ->> 'code' = c.digest)
    and not exists (
      select from interlock.versions v
      where v.tenant_id = c.tenant_id and interlock.digests_in(v.definition) @> array[c.digest])
    and not exists (
      select from interlock.executions x
      where octet_length(x.input::text) < 2000 and (x.input::text like '%"args"%' or x.input::text like '%"code"%')
        and interlock.digests_in(x.input) @> array[c.digest] and x.tenant_id = c.tenant_id)
    and not exists (select from named n where n.tenant_id = c.tenant_id and n.digest = c.digest)
  returning 1
)
select p.tenant_id, p.digest, (select count(*) from gone) as gone
from page p order by p.tenant_id desc, p.digest desc limit 1;
