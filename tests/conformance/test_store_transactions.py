"""The store's transactions are whole, leave nothing behind, and begin only on a login that is bound."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg
import pytest

from interlock.backends.store.postgres import connections as connections_module
from interlock.backends.store.postgres.store import PostgresStore
from interlock.backends.store.postgres.url import plain_url
from interlock.bootstrap.doctor import examine
from interlock.config import Settings
from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.principal import Principal
from interlock.kit.ids import RandomIds

DEADLINE_SECONDS = 10.0


def new_id() -> UUID:
    return RandomIds().new()


async def test_an_exception_undoes_the_transaction(store, tenant, made):
    workflow = made(tenant.principal)

    async def fail_half_way() -> None:
        async with store.transaction(tenant.principal) as transaction:
            await transaction.add_workflow(workflow)
            raise LookupError

    with pytest.raises(LookupError):
        await fail_half_way()
    assert await store.head(tenant.principal, workflow.workflow_id) is None


async def test_a_reading_transaction_cannot_write(store, tenant, made):
    with pytest.raises(InterlockError) as refused:
        async with store.transaction(tenant.principal, read_only=True) as transaction:
            await transaction.add_workflow(made(tenant.principal))
    assert refused.value.kind is ErrorKind.UNAVAILABLE


async def test_a_swallowed_failure_is_not_taken_for_a_commit(store, tenant, added, made):
    workflow = await added(tenant.principal)
    other = made(tenant.principal)

    async def carry_on_regardless() -> None:
        async with store.transaction(tenant.principal) as transaction:
            await transaction.add_workflow(other)
            with pytest.raises(InterlockError):
                await transaction.add_workflow(workflow)

    with pytest.raises(RuntimeError, match="nothing is committed"):
        await carry_on_regardless()
    assert await store.head(tenant.principal, other.workflow_id) is None


async def test_values_that_postgres_cannot_hold_are_the_callers_fault(store, tenant):
    for search in ("a\0b", "\ud800"):
        with pytest.raises(InterlockError) as refused:
            async with store.transaction(tenant.principal) as transaction:
                await transaction.list_workflows(search=search, tags=[], limit=1, offset=0)
        assert refused.value.kind is ErrorKind.INVALID
    with pytest.raises(InterlockError) as refused:
        async with store.transaction(tenant.principal) as transaction:
            await transaction.list_workflows(search=None, tags=[], limit=1, offset=1 << 70)
    assert refused.value.kind is ErrorKind.INVALID


async def test_a_slow_statement_ends_by_itself(store, tenant):

    async def sleep() -> None:
        async with store.transaction(tenant.principal) as transaction:
            await transaction._session.run("set local statement_timeout = 20")
            await transaction._session.run("select pg_sleep(30)")

    with pytest.raises(InterlockError) as refused:
        await sleep()
    assert (refused.value.kind, refused.value.retryable) == (ErrorKind.TIMEOUT, True)


@asynccontextmanager
async def opened(url: str, connections: int) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(url, connections=connections)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


LOGIN_DEFAULTS = """select current_user = session_user as is_itself, current_setting('statement_timeout') as timeout,
  coalesce(current_setting('request.jwt.claims', true), '') as claims, pg_backend_pid() as pid"""


async def test_no_claims_survive_cancelled_and_failed_callers(database, new_tenant, made):
    chance = random.Random(20261121)
    people = [new_tenant().principal for _ in range(50)]

    async def call(store: PostgresStore, who: Principal) -> None:
        async with store.transaction(who) as transaction:
            await transaction.add_workflow(made(who))
            await transaction._session.run("select pg_sleep(0.002)")
            await transaction.list_workflows(search=None, tags=[], limit=5, offset=0)
            if chance.random() < 0.2:
                raise LookupError

    async with opened(database.serve_url, 8) as store:
        callers = [asyncio.create_task(call(store, who)) for who in people]
        while unfinished := [caller for caller in callers if not caller.done()]:
            await asyncio.sleep(0.003)
            if chance.random() < 0.9:
                chance.choice(unfinished).cancel()
        outcomes = await asyncio.gather(*callers, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {asyncio.CancelledError, LookupError, type(None)}

        async with asyncio.timeout(DEADLINE_SECONDS):
            everyone = [store._connections.use() for _ in range(8)]
            connections = [await one.__aenter__() for one in everyone]
        rows = [await connection.fetchrow(LOGIN_DEFAULTS) for connection in connections]
        assert [(row["is_itself"], row["timeout"], row["claims"]) for row in rows] == [(True, "0", "")] * 8
        assert len({row["pid"] for row in rows}) == 8
        for one in everyone:
            await one.__aexit__(None, None, None)
        for who, outcome in zip(people, outcomes, strict=True):
            async with store.transaction(who) as transaction:
                page = await transaction.list_workflows(search=None, tags=[], limit=5, offset=0)
            assert (
                page.total == 1 if outcome is None else page.total in {0, isinstance(outcome, asyncio.CancelledError)}
            )


async def test_a_cancelled_caller_frees_its_connection_for_the_next(database, tenant):
    async with opened(database.serve_url, 1) as store:

        async def linger() -> None:
            async with store.transaction(tenant.principal) as transaction:
                inside.set()
                await transaction._session.run("select pg_sleep(8)")

        inside = asyncio.Event()
        caller = asyncio.create_task(linger())
        await inside.wait()
        caller.cancel()
        async with asyncio.timeout(DEADLINE_SECONDS / 2):
            assert await store.head(tenant.principal, new_id()) is None


async def test_too_many_callers_are_told_to_come_back(database, tenant, monkeypatch):
    monkeypatch.setattr(connections_module, "_WAIT_SECONDS", 0.05)
    async with opened(database.serve_url, 1) as store, store.transaction(tenant.principal):
        with pytest.raises(InterlockError, match="busy") as refused:
            async with store.transaction(tenant.principal):
                pass
    assert (refused.value.kind, refused.value.retryable) == (ErrorKind.UNAVAILABLE, True)


async def test_lost_connections_are_replaced(database, tenant):
    async with opened(database.serve_url, 2) as store:
        superuser = await asyncpg.connect(database.superuser_url)

        async def lose() -> None:
            async with store.transaction(tenant.principal) as transaction:
                pid = await transaction._session.value("select pg_backend_pid()")
                await superuser.execute("select pg_terminate_backend($1, 5000)", pid)
                await transaction._session.run("select 1")

        with pytest.raises(InterlockError) as lost:
            await lose()
        await superuser.close()
        assert lost.value.kind is ErrorKind.UNAVAILABLE
        assert await store.head(tenant.principal, new_id()) is None


async def test_two_queries_at_once_in_one_transaction_are_a_mistake_and_not_an_outage(store, tenant):
    with pytest.raises(asyncpg.InterfaceError):
        async with store.transaction(tenant.principal) as transaction:
            await asyncio.gather(transaction.head(new_id()), transaction.head(new_id()))


async def test_a_closed_store_says_so(database, tenant):
    async with opened(database.serve_url, 1) as store:
        pass
    with pytest.raises(InterlockError) as refused:
        async with store.transaction(tenant.principal):
            pass
    assert refused.value.kind is ErrorKind.UNAVAILABLE


async def test_the_address_may_name_a_driver(database, tenant):
    for scheme in ("postgres", "postgresql+asyncpg", "postgresql+psycopg"):
        async with opened(database.serve_url.replace("postgresql", scheme), 1) as store:
            assert await store.is_writable()
    for url in ("mysql://u:secret@h/d", "u:secret@h/d", "", "sqlite:///secret"):
        with pytest.raises(InterlockError) as refused:
            plain_url(url)
        assert "secret" not in str(refused.value)


async def test_a_login_that_row_level_security_does_not_bind_is_refused(database):
    for url, check in ((database.superuser_url, "is_unbound"), (database.migrate_url, "is_owner")):
        with pytest.raises(InterlockError) as refused:
            await PostgresStore(url).open()
        assert refused.value.details == {"check": check}


async def test_a_database_without_schema_is_refused(empty_database):
    with pytest.raises(InterlockError, match="interlock migrate") as refused:
        await PostgresStore(empty_database.serve_url).open()
    assert refused.value.details == {"check": "is_migrated"}


async def test_a_login_that_inherits_the_engine_is_refused(postgres, own_database, tmp_path):
    role = own_database.name + "_heir"
    await postgres.order(
        f"create role {role} login inherit password 'x' in role authenticated, interlock_engine, interlock_access"
    )
    url = own_database.serve_url.replace("interlock_server", role).replace(
        own_database.serve_url.split(":")[2].split("@")[0], "x"
    )
    with pytest.raises(InterlockError, match="inherit") as refused:
        await PostgresStore(url).open()
    assert refused.value.details == {"check": "inherits_engine"}
    assert "noinherit" in refused.value.message
    told = Settings(_env_file=None, database_url=url, data_dir=tmp_path)
    safety = next(check for check in await examine(told) if check.name == "safety")
    assert (safety.is_ok, "noinherit" in safety.found) == (False, True), "the doctor sees what the start refuses"
    await postgres.order(f"drop role {role}")


async def test_a_store_is_writable_only_with_a_database_that_takes_writes(postgres, own_database):
    async with opened(own_database.serve_url, 1) as store:
        assert await store.is_writable()
    await postgres.order(f"alter database {own_database.name} set default_transaction_read_only = on")
    async with opened(own_database.serve_url, 1) as store:
        assert not await store.is_writable()
    await postgres.order(f"alter database {own_database.name} reset default_transaction_read_only")


async def test_a_store_over_an_older_schema_is_not_writable(own_database):
    owner = await asyncpg.connect(own_database.migrate_url)
    await owner.execute("delete from interlock.migrations")
    async with opened(own_database.serve_url, 1) as store:
        assert not await store.is_writable()
        await owner.execute("insert into interlock.migrations (number, name, checksum) values (99, 'next', '')")
        assert await store.is_writable(), "a newer schema keeps this release working"
    await owner.close()


async def test_a_store_that_lost_its_database_is_not_writable(postgres, own_database):
    async with opened(own_database.serve_url, 1) as store:
        await postgres.order(f"drop database {own_database.name} with (force)")
        assert not await store.is_writable()
    await postgres.order(f"create database {own_database.name}")


async def test_a_store_that_cannot_open_says_why_and_keeps_the_password(database):
    for wrong, reason in (
        (database.serve_url.replace("/interlock?", "/nowhere?"), "nowhere"),
        (database.serve_url.replace("interlock_server:", "interlock_server:not"), "password authentication failed"),
        ("postgresql://u:secret@127.0.0.1:1/d", "Connect call failed"),
    ):
        with pytest.raises(InterlockError, match=reason) as refused:
            await PostgresStore(wrong).open()
        assert refused.value.kind is ErrorKind.UNAVAILABLE
        assert "secret" not in str(refused.value)
