-- Code that users send: bytes that no server process reads, and only the sandbox of their tenant runs. The seal is
-- made with a key of the server's, so that what somebody writes into this table past the server is never run.

create table interlock.code (
  tenant_id text not null,
  digest text not null check (digest ~ '^[0-9a-f]{64}$'),  -- of form and content
  form text not null check (form in ('source', 'pickle')),
  author text not null,
  content bytea not null,
  seal bytea not null,
  created_at timestamptz not null default interlock.now(),
  primary key (tenant_id, digest)
);
alter table interlock.code alter column content set storage external;

alter table interlock.code enable row level security;
alter table interlock.code force row level security;
revoke all on interlock.code from public, anon, authenticated, interlock_engine;

-- Code is the engine's: no caller's claims reach this table, and every statement on it names its tenant.
create policy engine on interlock.code to interlock_engine using (true) with check (true);
grant select, insert on interlock.code to interlock_engine;
