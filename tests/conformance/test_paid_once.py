"""What was answered under a key, to a task or to a request, is neither asked nor paid for again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest

from interlock.backends.models.scripted.provider import ScriptedProvider
from interlock.backends.store.postgres.budgets import PostgresBooks
from interlock.core.errors import InterlockError
from interlock.core.models.prices import price
from interlock.core.models.requests import read_chat
from interlock.core.models.routing import Offer, Routes
from interlock.core.principal import Principal, Scope
from interlock.kit.clock import SystemClock
from interlock.kit.ids import RandomIds
from interlock.ports.engine import Key
from interlock.ports.models import Place
from interlock.services.models.bundle import Models, build_models
from interlock.services.models.once import AnswerOnce, Claimed

IDS = RandomIds()
BODY = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


class Counting(ScriptedProvider):
    """The scripted model, and the keys it was called with."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def call(self, kind: Any, body: bytes, key: str = "") -> Any:
        self.keys.append(key)
        return super().call(kind, body, key)


@pytest.fixture(scope="module")
async def books(database: Any) -> AsyncIterator[PostgresBooks]:
    books = PostgresBooks(database.serve_url, connections=4)
    await books.open()
    yield books
    await books.close()


@pytest.fixture
async def asked_by(database: Any) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database.superuser_url)
    yield connection
    await connection.close()


@pytest.fixture
def tenant_id() -> str:
    return f"tenant-{IDS.new()}"


def gateway(books: Any, provider: Counting) -> Models:
    """A process of a server."""
    offer = Offer(provider="scripted", default_price=price(1, 2))
    return build_models(
        routes=Routes((offer,)), providers={"scripted": provider}, books=books, clock=SystemClock(), ids=IDS
    )


async def test_a_task_asks_once_however_often_it_is_repeated(books: PostgresBooks, tenant_id: str) -> None:
    provider = Counting()
    models = gateway(books, provider)
    first = await models.for_tasks.call(tenant_id, IDS.new(), "effect-1", "trace", "chat", BODY)
    assert await models.for_tasks.call(tenant_id, IDS.new(), "effect-1", "trace", "chat", BODY) == first
    assert len(provider.keys) == 1
    await models.for_tasks.call(tenant_id, IDS.new(), "effect-2", "trace", "chat", BODY)
    await models.for_tasks.call(f"{tenant_id}-other", IDS.new(), "effect-1", "trace", "chat", BODY)
    assert len(set(provider.keys)) == 3
    await models.upkeep.stop()


async def test_the_answer_is_kept_in_the_commit_that_books_it(
    books: PostgresBooks, asked_by: asyncpg.Connection, tenant_id: str
) -> None:
    models = gateway(books, Counting())
    await models.for_tasks.call(tenant_id, IDS.new(), "effect-1", "trace", "chat", BODY)
    booked = "select xmin::text, status from interlock.model_calls where tenant_id = $1"
    kept = "select xmin::text from interlock.model_results where tenant_id = $1 and answer is not null"
    (transaction, status), *others = await asked_by.fetch(booked, tenant_id)
    assert (status, others) == ("settled", [])
    assert await asked_by.fetchval(kept, tenant_id) == transaction
    await models.upkeep.stop()


class Dying:
    """The books of a process that dies when it is about to write what a call cost."""

    def __init__(self, books: PostgresBooks) -> None:
        self._books = books
        self.is_reached = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._books, name)

    async def write(self, rows: Any, answers: Any = ()) -> None:
        if answers:
            self.is_reached.set()
            await asyncio.get_running_loop().create_future()
        await self._books.write(rows, answers)


async def test_a_death_before_that_commit_leaves_nothing_and_the_next_attempt_sends_the_same_key(
    books: PostgresBooks, asked_by: asyncpg.Connection, tenant_id: str
) -> None:
    provider, dying = Counting(), Dying(books)
    before = gateway(dying, provider)
    lost = asyncio.create_task(before.for_tasks.call(tenant_id, IDS.new(), "effect-1", "trace", "chat", BODY))
    await asyncio.wait_for(dying.is_reached.wait(), 10)
    assert await books.recall(tenant_id, "effect-1") is None
    lost.cancel()
    after = gateway(books, provider)
    await after.for_tasks.call(tenant_id, IDS.new(), "effect-1", "trace", "chat", BODY)
    assert len(provider.keys) == 2
    assert len(set(provider.keys)) == 1, "a provider that knows such keys has one piece of work"
    statuses = await asked_by.fetch("select status from interlock.model_calls where tenant_id = $1", tenant_id)
    assert [row["status"] for row in statuses] == ["settled"]
    await after.upkeep.stop()
    writing = before.holds._writer._task
    assert writing is not None
    writing.cancel()


def caller(tenant_id: str) -> Principal:
    return Principal("ann", tenant_id, frozenset({Scope.MODELS_USE}))


def key(digest: str = "d") -> Key:
    return Key("ann POST /v1/chat/completions", "key-1", digest)


async def test_of_many_requests_with_one_key_one_is_made(books: PostgresBooks, tenant_id: str) -> None:
    processes = [AnswerOnce(books, IDS) for _ in range(3)]
    claims = [processes[number % 3].claim(caller(tenant_id), key()) for number in range(30)]
    found = await asyncio.gather(*claims, return_exceptions=True)
    refused = [error for error in found if isinstance(error, InterlockError)]
    assert len(refused) == 29
    assert {error.code for error in refused} == {"IDEMPOTENCY_IN_PROGRESS"}


async def test_a_key_is_free_again_when_its_request_came_to_nothing(books: PostgresBooks, tenant_id: str) -> None:
    once = AnswerOnce(books, IDS)
    first = await once.claim(caller(tenant_id), key())
    await once.end(first)
    again = await once.claim(caller(tenant_id), key("another body"))
    assert again is not None
    assert again.answer is None
    with pytest.raises(InterlockError) as refused:
        await once.claim(caller(tenant_id), key())
    assert refused.value.code == "IDEMPOTENCY_MISMATCH"


async def expire(connection: asyncpg.Connection, tenant_id: str) -> None:
    """Let so much time pass that everything of a tenant is over."""
    await connection.execute(
        "update interlock.model_results set expires_at = now() - interval '1 s' where tenant_id = $1", tenant_id
    )


async def test_a_key_of_a_dead_process_can_be_used_after_its_lease(
    books: PostgresBooks, asked_by: asyncpg.Connection, tenant_id: str
) -> None:
    dead, alive = AnswerOnce(books, IDS), AnswerOnce(books, IDS)
    first = await dead.claim(caller(tenant_id), key())
    await expire(asked_by, tenant_id)
    second = await alive.claim(caller(tenant_id), key())
    assert first is not None
    assert second is not None
    await dead.end(first)
    await alive.renew()
    with pytest.raises(InterlockError):
        await dead.claim(caller(tenant_id), key())


async def test_leases_are_renewed_while_an_answer_is_made(
    books: PostgresBooks, asked_by: asyncpg.Connection, tenant_id: str
) -> None:
    models = gateway(books, Counting())
    await models.once.claim(caller(tenant_id), key())
    ends = "select expires_at from interlock.model_results where tenant_id = $1"
    before = await asked_by.fetchval(ends, tenant_id)
    await models.upkeep.go_round()
    assert await asked_by.fetchval(ends, tenant_id) > before
    await models.upkeep.stop()


async def test_answers_are_forgotten_when_their_time_is_over(
    books: PostgresBooks, asked_by: asyncpg.Connection, tenant_id: str
) -> None:
    models = gateway(books, Counting())
    for number in range(3):
        await models.for_tasks.call(tenant_id, IDS.new(), f"effect-{number}", "trace", "chat", BODY)
    await expire(asked_by, tenant_id)
    await models.for_tasks.call(tenant_id, IDS.new(), "effect-9", "trace", "chat", BODY)
    await models.upkeep.go_round()
    left = await asked_by.fetch("select effect_key from interlock.model_results where tenant_id = $1", tenant_id)
    assert [row["effect_key"] for row in left] == ["effect-9"]
    await models.upkeep.stop()


async def test_an_answer_that_comes_after_its_claim_was_lost_is_not_kept(books: PostgresBooks, tenant_id: str) -> None:
    from_first = Place(tenant_id=tenant_id, effect_key="k", claim_id=UUID(int=1), seconds=60.0)
    from_second = msgspec.structs.replace(from_first, claim_id=UUID(int=2))
    assert (await books.claim(from_first, "d", 0.0)).is_ours
    assert (await books.claim(from_second, "d", 60.0)).is_ours
    models = gateway(books, Counting())
    await models.relay.complete(caller(tenant_id), read_chat(BODY), "trace", claimed=Claimed(from_first))
    found = await books.claim(from_first, "d", 60.0)
    assert (found.is_ours, found.answer) == (False, None)
    await models.upkeep.stop()
