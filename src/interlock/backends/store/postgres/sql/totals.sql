-- Counts of the whole deployment. Run as interlock_engine.

-- name: totals
select (select count(*) from interlock.executions where kind = 'flow') as sessions,
  (select count(*) from interlock.executions where kind = 'flow' and status = 'cancelled') as aborted,
  (select count(*) from interlock.inbox where kind = 'event') as signals,
  (select count(*) from interlock.inbox where kind = 'callback') as callbacks,
  (select count(*) from interlock.registry_nodes) as nodes,
  (select count(*) from interlock.registry_flows) as flows;

-- name: add_node_totals
-- In the order of their keys, so that two processes never wait for each other.
insert into interlock.node_totals as t (tenant_id, node, ended, timed, seconds, least, most)
select * from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::float8[], $6::float8[], $7::float8[])
on conflict (tenant_id, node) do update
set ended = t.ended + excluded.ended, timed = t.timed + excluded.timed, seconds = t.seconds + excluded.seconds,
  least = least(t.least, excluded.least), most = greatest(t.most, excluded.most)
returning 1;

-- name: node_totals
-- Of all tenants for the nodes $2, which all have; of the others the tenant $1's alone (null: everybody's).
select node, sum(ended)::bigint, sum(timed)::bigint, sum(seconds), min(least), max(most)
from interlock.node_totals where $1::text is null or tenant_id = $1 or node = any ($2::text[])
group by node order by node;
