-- What nothing refers to any more is removed: blobs, and code of users. These indexes answer what refers to a digest;
-- all but one are of the few rows that refer to any.

create function interlock.digests_of(refs json) returns text[] language sql immutable parallel safe
set search_path = '' as $$
  select pg_catalog.array_agg(r.value) from pg_catalog.json_each_text(refs) r
$$;

-- Every digest that is written somewhere in a document.
create function interlock.digests_in(document json) returns text[] language sql immutable parallel safe
set search_path = '' as $$
  select pg_catalog.array_agg(distinct f.found[1])
  from pg_catalog.regexp_matches(document::pg_catalog.text, '[0-9a-f]{64}', 'g') f(found)
$$;

revoke all on function interlock.digests_of(json), interlock.digests_in(json) from public;
grant execute on function interlock.digests_of(json), interlock.digests_in(json) to authenticated, interlock_engine;

create index events_refs on interlock.events using gin (interlock.digests_of(refs)) where refs is not null;
create index executions_input_refs on interlock.executions using gin (interlock.digests_of(input_refs))
  where input_refs is not null;
create index executions_output_refs on interlock.executions using gin (interlock.digests_of(output_refs))
  where output_refs is not null;
create index inbox_refs on interlock.inbox using gin (interlock.digests_of(payload -> 'refs'))
  where kind = 'child_ended';
create index artifacts_by_content on interlock.artifacts (sha256);
create index versions_by_code on interlock.versions using gin (interlock.digests_in(definition));
create index draft_tasks_by_code on interlock.draft_tasks (tenant_id, (content ->> 'code')) where content is not null;

create policy engine on interlock.draft_tasks for select to interlock_engine using (true);
grant select on interlock.draft_tasks to interlock_engine;

-- created_at is when a blob or a piece of code was last stored.
grant delete, update (created_at) on interlock.blobs to interlock_engine;
grant delete on interlock.blob_parts to interlock_engine;
grant delete, update (form, author, content, seal, created_at) on interlock.code to interlock_engine;
