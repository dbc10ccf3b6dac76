-- Open streams, counted over all processes. A process says how many it holds, and again before its lease is over; of
-- one that was killed nothing counts any longer then. After a crash of the database nobody holds any stream, so that
-- nothing of this has to be written down for good.

create unlogged table interlock.stream_seats (
  tenant_id text not null,
  subject text not null,
  process uuid not null,
  held int not null check (held > 0),
  expires_at timestamptz not null,
  primary key (tenant_id, subject, process)
);
create index stream_seats_expiry on interlock.stream_seats (expires_at);

alter table interlock.stream_seats enable row level security;
alter table interlock.stream_seats force row level security;
revoke all on interlock.stream_seats from public, anon, authenticated, interlock_engine, interlock_access;

create policy access on interlock.stream_seats to interlock_access using (true) with check (true);
grant select, insert, update, delete on interlock.stream_seats to interlock_access;
