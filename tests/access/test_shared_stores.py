"""What processes share in Redis and in the database tells nobody what a tenant said, nor one tenant of another."""

from __future__ import annotations

import base64
import hashlib
import re
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pytest
from redis import Redis as SyncRedis
from redis.asyncio import Redis

from serving import Serving
from tenants_house import Owner, owner_of_everything

WINDOW = re.compile(r"interlock:limit:\{?[\w=/+-]{16,}\}?:[a-z0-9-]+")
"""A window is named by a hash that covers the tenant."""
MARK = "interlock:limit:mark"
"""Since when this Redis forgets nothing; of nobody."""


@pytest.fixture(scope="module")
def outside(database: Any, valkey_url: str) -> Iterator[Serving]:
    """A process outside local mode with a Redis that is empty, where every request is counted."""
    with SyncRedis.from_url(valkey_url) as client:
        client.flushall()
    with tempfile.TemporaryDirectory(prefix="interlock-shared-") as folder:
        running = Serving(
            Path(folder),
            database.serve_url,
            INTERLOCK_REDIS_URL=valkey_url,
            INTERLOCK_MODE="offline",
            INTERLOCK_EGRESS_ALLOW="loopback",
        )
        try:
            yield running.ready()
        finally:
            running.stop()


@pytest.fixture
async def redis(valkey_url: str) -> AsyncIterator[Redis]:
    client = Redis.from_url(valkey_url)
    yield client
    await client.aclose()


async def everything(redis: Redis) -> dict[str, str]:
    """Every key of a Redis with what it holds, but for the window by which a process sees that Redis is there."""
    found = {}
    async for key in redis.scan_iter():
        if key.endswith(b":watch"):
            continue
        is_list = await redis.type(key) == b"list"
        found[key.decode()] = str(await redis.lrange(key, 0, -1) if is_list else await redis.get(key))
    return found


async def listening_to(redis: Redis) -> Any:
    """Hears whatever is published from now on."""
    listening = redis.pubsub()
    await listening.psubscribe("*")
    return listening


async def drain(listening: Any) -> list[str]:
    """What came so far."""
    texts = []
    while (message := await listening.get_message(timeout=0.3)) is not None:
        texts.append(f"{message['channel']!r} {message['data']!r}")
    await listening.aclose()
    return texts


async def test_redis_holds_counts_and_hints_and_not_a_word(outside: Serving, redis: Redis) -> None:
    """G12."""
    listening = await listening_to(redis)
    async with httpx2.AsyncClient(base_url=outside.url, timeout=30.0) as http:
        one = await owner_of_everything(outside.mint, http)
        of_one = await everything(redis)
        other = await owner_of_everything(outside.mint, http)
        of_both = await everything(redis)
    told = [*of_both, *of_both.values(), *await drain(listening)]
    assert len(told) > 10
    for owner in (one, other):
        words = (owner.word, owner.tenant_id, owner.token, owner.key, *owner.ids.values())
        assert not [word for word in words if len(word) > 8 and any(word in text for text in told)]
    assert [key for key in of_both if not WINDOW.fullmatch(key)] in ([], [MARK])
    new = of_both.keys() - of_one.keys()
    assert new, "the second tenant has windows of its own"
    assert {key: of_both[key] for key in of_one} == of_one, "the second tenant counted in none of the first"


def shapes(owner: Owner) -> list[str]:
    """A credential as it is, and the parts and spellings of it that would be as good."""
    texts = []
    for secret in (owner.key, owner.token):
        tail = secret[-39:]
        raw = hashlib.sha256(secret.encode()).digest()
        texts += [secret, tail, secret.encode().hex(), base64.b64encode(secret.encode()).decode(), raw.hex()]
        texts += [raw.hex().upper(), base64.b64encode(raw).decode()]
    return texts


async def test_metrics_name_no_tenant_and_nothing_of_one(tenants: Any) -> None:
    """G12: one page for all of them."""
    answer = await tenants.a.http.get("/metrics", headers=tenants.a.headers())
    assert answer.status_code == 200
    assert "interlock_" in answer.text
    for owner in (tenants.a, tenants.b):
        words = (owner.word, owner.tenant_id, owner.subject, owner.token, owner.key, *owner.ids.values())
        assert [word for word in words if len(word) > 8 and word in answer.text] == []


async def test_the_database_holds_no_credential_and_no_plain_hash_of_one(tenants: Any, database: Any) -> None:
    """G8: a stolen dump lets nobody in: keys are kept as keyed hashes, tokens not at all."""
    connection = await asyncpg.connect(database.superuser_url)
    try:
        tables = await connection.fetch(
            "select tablename from pg_tables where schemaname = 'interlock' and tablename !~ '^(events|executions)_'"
        )
        hits = []
        for (name,) in tables:
            rows = await connection.fetch(f'select to_jsonb(t)::text as row from interlock."{name}" t')
            text = "\n".join(row["row"] for row in rows)
            hits += [(name, shape[:12]) for owner in (tenants.a, tenants.b) for shape in shapes(owner) if shape in text]
    finally:
        await connection.close()
    assert hits == []
