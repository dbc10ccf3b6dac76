-- What clients call their sessions. A name is the key its execution was started with; it lives as long as that, so
-- that an execution's own id can go by time as every other one: lists are in order, and it lies in its week's partition.
update interlock.keys set expires_at = 'infinity' where scope = 'session';

create policy read_names on interlock.keys for select to authenticated
  using (scope = 'session' and tenant_id = (select interlock.tenant()));
grant select (tenant_id, scope, key, execution_id) on interlock.keys to authenticated;
