"""Idempotency keys that are over go a few at a time, found by an index, and never those of running work (D5)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from interlock.backends.store.postgres.access import PostgresAccess
from interlock.backends.store.postgres.ledger import PostgresLedger
from interlock.backends.store.postgres.queries import load
from interlock.runtime.upkeep import PURGE_AT_ONCE

KEPT, OVER, RUNNING = 30_000, 2_500, 40

FILL = f"""
insert into interlock.live (execution_id, tenant_id, owner, format)
  select gen_random_uuid(), 't', 1, 1 from generate_series(1, {RUNNING});
insert into interlock.keys (tenant_id, scope, key, digest, execution_id, expires_at)
  select 't', 'running', n::text, 'd', execution_id, now() - interval '2 days'
  from (select execution_id, row_number() over () as n from interlock.live) l;
insert into interlock.keys (tenant_id, scope, key, digest, execution_id, expires_at)
  select 't', 'over', n::text, 'd', gen_random_uuid(), now() - n * interval '1 second'
  from generate_series(1, {OVER}) n;
insert into interlock.keys (tenant_id, scope, key, digest, execution_id, expires_at)
  select 't', 'kept', n::text, 'd', gen_random_uuid(), now() + interval '1 day' from generate_series(1, {KEPT}) n;
insert into interlock.answers (tenant_id, scope, key, digest, expires_at)
  select 't', 'over', n::text, 'd', now() - n * interval '1 second' from generate_series(1, {OVER}) n;
insert into interlock.answers (tenant_id, scope, key, digest, expires_at)
  select 't', 'kept', n::text, 'd', now() + interval '1 day' from generate_series(1, {KEPT}) n;
analyze interlock.keys, interlock.answers, interlock.live;
"""


@pytest.fixture
async def superuser(own_database: Any) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(own_database.superuser_url)
    await connection.execute(FILL)
    yield connection
    await connection.close()


async def left(superuser: Any, table: str) -> dict[str, int]:
    return dict(await superuser.fetch(f"select scope, count(*) from interlock.{table} group by scope"))


async def test_keys_go_a_few_at_a_time_and_those_of_running_work_stay(own_database: Any, superuser: Any) -> None:
    ledger = PostgresLedger(own_database.serve_url)
    await ledger.open()
    try:
        purged = [await ledger.purge_keys(PURGE_AT_ONCE) for _ in range(4)]
    finally:
        await ledger.close()
    assert purged == [PURGE_AT_ONCE, PURGE_AT_ONCE, OVER - 2 * PURGE_AT_ONCE, 0]
    assert await left(superuser, "keys") == {"running": RUNNING, "kept": KEPT}


async def test_kept_answers_go_too(own_database: Any, superuser: Any) -> None:
    access = PostgresAccess(own_database.serve_url)
    await access.open()
    try:
        await access.purge()
    finally:
        await access.close()
    assert await left(superuser, "answers") == {"kept": KEPT}


@pytest.mark.parametrize(
    ("statement", "index"),
    [(load("load")["purge_keys"], "keys_expiry"), (load("answers")["purge"], "answers_expiry")],
    ids=["keys", "answers"],
)
async def test_what_is_over_is_found_by_an_index(superuser: Any, statement: str, index: str) -> None:
    plan = json.loads(await superuser.fetchval(f"explain (format json) {statement.replace('$1', '100')}"))
    assert index in json.dumps(plan)
