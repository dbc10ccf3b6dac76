"""Watching from inside the database: triggers write down every change of ownership, and when each result came.

The times are the database's own, so that nothing depends on the clocks of the servers under test.
"""

from __future__ import annotations

from crash.database import Observer
from crash.verdict import Verdict

WATCH = """
create schema watched;
create table watched.owners (
  id bigint generated always as identity primary key, execution_id uuid not null, owner bigint, epoch int not null,
  at timestamptz not null default clock_timestamp());
create function watched.note() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  insert into watched.owners (execution_id, owner, epoch) values (new.execution_id, new.owner, new.epoch);
  return null;
end $$;
create table watched.results (execution_id uuid, task_id text, node_id text, told timestamptz, at timestamptz);
create function watched.note_result() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  insert into watched.results values (new.execution_id, new.data ->> 'task_id', new.data ->> 'node_id', new.at,
    pg_catalog.clock_timestamp());
  return null;
end $$;
create trigger note_result after insert on interlock.events for each row
  when (new.type = 'task.completed') execute function watched.note_result();
create trigger note_insert after insert on interlock.live for each row execute function watched.note();
create trigger note_update after update on interlock.live for each row
  when (old.owner is distinct from new.owner or old.epoch <> new.epoch) execute function watched.note();
"""
SEVERAL_OWNERS = """
select execution_id, epoch, array_agg(distinct owner) from watched.owners where owner is not null
group by 1, 2 having count(distinct owner) > 1"""
NOT_GROWING = """
select execution_id, owner, epoch, before from (
  select execution_id, owner, epoch, max(epoch) filter (where owner is not null)
    over (partition by execution_id order by id rows between unbounded preceding and 1 preceding) as before
  from watched.owners) o
where owner is not null and epoch <= before"""
HANDED_ON = """
select execution_id, owner, before from (
  select execution_id, owner, lag(owner) over (partition by execution_id order by id) as before
  from watched.owners) o
where owner is not null and before is not null and owner <> before"""
CHANGES = "select count(*) from watched.owners where owner is not null and epoch > 1"


async def watch_ownership(observer: Observer) -> None:
    """Begin to watch; the database must be fresh."""
    await observer.prepare(WATCH)


async def check_ownership(observer: Observer, verdict: Verdict) -> None:
    """One owner for each epoch, and a fence that only grows."""
    for name, statement in (
        ("one owner for each execution and epoch", SEVERAL_OWNERS),
        ("the epoch grows with every new owner", NOT_GROWING),
        ("no owner takes over from a living one", HANDED_ON),
    ):
        found = await observer.fetch(statement)
        verdict.expect_none(name, (" ".join(map(str, row)) for row in found))
    verdict.counts["takeovers"] = verdict.counts.get("takeovers", 0) + int(await observer.value(CHANGES))
