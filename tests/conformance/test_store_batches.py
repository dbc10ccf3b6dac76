"""Many questions at once are answered together, each rightly; and how statements are read from files."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.backends.store.postgres.batch import MAX_BATCH, Batch, Recent
from interlock.backends.store.postgres.claims import begin, claims_of
from interlock.backends.store.postgres.queries import load
from interlock.core.principal import Principal
from interlock.kit.ids import RandomIds


def new_id() -> UUID:
    return RandomIds().new()


async def test_many_heads_at_once_are_each_answered_rightly(store, tenant, new_tenant, added):
    workflows = [await added(tenant.principal, name=f"W{index}") for index in range(20)]
    stranger = new_tenant().principal

    async def ask(index: int) -> bool:
        who = stranger if index % 5 == 0 else tenant.principal
        workflow = workflows[index % 20]
        head = await store.head(who, workflow.workflow_id)
        version = await store.version(who, workflow.version.version_id)
        if who is stranger:
            return head is None and version is None
        return head is not None and head.name == workflow.name and version == workflow.version

    assert all(await asyncio.gather(*(ask(index) for index in range(300))))


class Gate:
    """A fetch that waits to be let through, one round at a time, and keeps what it was asked."""

    def __init__(self) -> None:
        self.rounds: list[tuple[str, list[UUID]]] = []
        self.began = asyncio.Semaphore(0)
        self.let = asyncio.Semaphore(0)
        self.failure: Exception | None = None

    async def fetch(self, claims: str, wanted: Sequence[UUID]) -> Mapping[UUID, str]:
        self.rounds.append((claims, list(wanted)))
        self.began.release()
        await self.let.acquire()
        if self.failure:
            raise self.failure
        return {key: f"{claims}:{key.int}" for key in wanted if key.int < 900}


def asking(batch: Batch[str], claims: str, *numbers: int) -> list[asyncio.Task[str | None]]:
    return [asyncio.create_task(batch.ask(claims, UUID(int=number))) for number in numbers]


async def test_questions_collect_while_a_round_is_under_way():
    gate = Gate()
    batch = Batch(gate.fetch)
    first = asking(batch, "a", 1, 2, 1)
    await gate.began.acquire()
    second = asking(batch, "a", 3, 1, 999)
    other = asking(batch, "b", 1)
    await gate.began.acquire()
    for _ in range(3):
        gate.let.release()
    assert await asyncio.gather(*first) == ["a:1", "a:2", "a:1"]
    assert await asyncio.gather(*second) == ["a:3", "a:1", None]
    assert await asyncio.gather(*other) == ["b:1"]
    asked = [(claims, [key.int for key in keys]) for claims, keys in gate.rounds]
    assert asked == [("a", [1, 2]), ("b", [1]), ("a", [3, 1, 999])]


async def test_a_cancelled_question_disturbs_no_other():
    gate = Gate()
    batch = Batch(gate.fetch)
    first, second = asking(batch, "a", 1, 1)
    await gate.began.acquire()
    third, fourth = asking(batch, "a", 2, 3)
    await asyncio.sleep(0)
    first.cancel()
    third.cancel()
    gate.let.release()
    gate.let.release()
    assert [await second, await fourth] == ["a:1", "a:3"]
    assert await asyncio.gather(first, third, return_exceptions=True) != [None, None]
    assert first.cancelled()
    assert third.cancelled()


async def test_a_failed_round_fails_its_questions_and_not_the_next():
    gate = Gate()
    gate.failure = LookupError("away")
    batch = Batch(gate.fetch)
    first = asking(batch, "a", 1, 2)
    await gate.began.acquire()
    gate.let.release()
    assert all(isinstance(answer, LookupError) for answer in await asyncio.gather(*first, return_exceptions=True))
    gate.failure = None
    gate.let.release()
    assert await asyncio.gather(*asking(batch, "a", 1)) == ["a:1"]


async def test_a_round_is_bounded():
    gate = Gate()
    batch = Batch(gate.fetch)
    questions = asking(batch, "a", *range(MAX_BATCH + 100))
    gate.let.release()
    gate.let.release()
    await asyncio.gather(*questions)
    assert [len(keys) for _, keys in gate.rounds] == [MAX_BATCH, 100]


async def test_a_closed_batch_cancels_its_questions():
    gate = Gate()
    batch = Batch(gate.fetch)
    questions = asking(batch, "a", 1)
    await gate.began.acquire()
    questions += asking(batch, "a", 2)
    await asyncio.sleep(0)
    await batch.close()
    outcomes = await asyncio.gather(*questions, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError] * 2


async def test_a_version_once_seen_is_remembered_for_its_caller_only(store, tenant, new_tenant, added):
    workflow = await added(tenant.principal)
    key = workflow.version.version_id
    friend, stranger = tenant.member("user-2"), new_tenant().principal
    assert await store.version(tenant.principal, key) == workflow.version
    async with store.transaction(tenant.principal) as transaction:
        private = msgspec.structs.replace(workflow, visibility="private")
        assert await transaction.change_workflow(private, 1)
    assert await store.version(tenant.principal, key) is await store.version(tenant.principal, key)
    assert await store.version(friend, key) is None
    assert await store.version(stranger, key) is None


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 60)), max_size=60))
def test_what_is_remembered_stays_below_its_bound(puts):
    recent: Recent[int] = Recent(100)
    newest: dict[int, int] = {}
    for number, weight in puts:
        recent.put(("t", "s", UUID(int=number)), weight, weight)
        newest[number] = weight
        kept = [weight for key, weight in newest.items() if recent.get(("t", "s", UUID(int=key))) is not None]
        assert sum(kept) <= 100
        assert recent.get(("t", "s", UUID(int=number))) == weight
    recent.put(("t", "s", UUID(int=9)), 1, 101)
    assert recent.get(("t", "s", UUID(int=9))) is None


@pytest.mark.parametrize("name", ["session", "workflows", "executions", "approvals", "migrations"])
def test_named_statements_are_read_without_comments(name):
    statements = load(name)
    assert statements
    for text in statements.values():
        assert "--" not in text
        assert not text.rstrip().endswith(";")


def test_claims_are_quoted_as_one_literal():
    text = begin(claims_of(Principal("o'neil $1", "t", frozenset())), read_only=True)
    assert text.startswith("begin read only; select set_config('role', 'authenticated', true)")
    assert "o''neil $1" in text
