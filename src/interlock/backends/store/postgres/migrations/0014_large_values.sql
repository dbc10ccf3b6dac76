-- Large values are kept once, as blobs: what an execution was given and what came of it refer to theirs (paths to
-- SHA-256), and a blob in the database is in parts, so that no row is larger than 64 KiB.

alter table interlock.executions add column input_refs json, add column output_refs json;

create table interlock.blob_parts (
  tenant_id text not null,
  sha256 text not null,
  part int not null check (part > 0),
  content bytea not null check (octet_length(content) <= 61440),
  primary key (tenant_id, sha256, part),
  foreign key (tenant_id, sha256) references interlock.blobs
);
alter table interlock.blob_parts alter column content set storage external;
alter table interlock.blobs alter column content drop not null;  -- of those in parts

alter table interlock.blob_parts enable row level security;
alter table interlock.blob_parts force row level security;
revoke all on interlock.blob_parts from public, anon, authenticated, interlock_engine, interlock_access;

create policy engine on interlock.blob_parts to interlock_engine using (true) with check (true);
grant select, insert on interlock.blob_parts to interlock_engine;
