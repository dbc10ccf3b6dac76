-- Open streams of all processes. Run as interlock_access.

-- name: take_turns
-- $1 tenants in order: whoever asks for seats of a tenant comes after whoever asked before.
select pg_advisory_xact_lock(hashtextextended(t.tenant_id, 7307)) from unnest($1::text[]) as t(tenant_id);

-- name: held_elsewhere
-- $1 tenants and $2 subjects; $3 the process that asks.
select a.tenant_id, a.subject, coalesce(sum(s.held) filter (where s.subject = a.subject), 0)::int as of_subject,
  coalesce(sum(s.held), 0)::int as of_tenant
from unnest($1::text[], $2::text[]) as a(tenant_id, subject)
left join interlock.stream_seats s
  on s.tenant_id = a.tenant_id and s.process <> $3 and s.expires_at > interlock.now()
group by a.tenant_id, a.subject;

-- name: hold
-- $1 tenants, $2 subjects, $3 how many of each; $4 the process, $5 for how long.
insert into interlock.stream_seats as s (tenant_id, subject, process, held, expires_at)
select h.tenant_id, h.subject, $4, h.held, interlock.now() + $5
from unnest($1::text[], $2::text[], $3::int[]) as h(tenant_id, subject, held)
on conflict (tenant_id, subject, process) do update set held = excluded.held, expires_at = excluded.expires_at;

-- name: leave
-- $1 tenants and $2 subjects of which the process $3 holds nothing any more.
delete from interlock.stream_seats s using unnest($1::text[], $2::text[]) as l(tenant_id, subject)
where s.tenant_id = l.tenant_id and s.subject = l.subject and s.process = $3;

-- name: forget_dead
delete from interlock.stream_seats where (tenant_id, subject, process) in (
  select tenant_id, subject, process from interlock.stream_seats
  where expires_at < interlock.now() - interval '1 minute' for update skip locked);
