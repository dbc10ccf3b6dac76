-- A key counts among signals of one kind, so that no key of a client can stand in the way of the engine's own signals.
drop index interlock.inbox_dedupe;
create unique index inbox_dedupe on interlock.inbox (execution_id, kind, dedupe_key) where dedupe_key is not null;
