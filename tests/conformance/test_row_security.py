"""Row-level security separates tenants and people, and every policy is needed: relax any of them and a check fails.

Checks run as the serving role on the true schema, and again on every mutant of it, which lives in a transaction of the
superuser's that is rolled back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import asyncpg
import pytest

from catalogue_checks import CATALOGUE_CHECKS, CHECKS, failing
from interlock.backends.store.embedded.roles import OWNER
from interlock.backends.store.postgres.migrate import migrate
from interlock.kit.ids import RandomIds
from row_checks import (
    ROW_CHECKS,
    caught_by,
    is_refused,
    trying,
)
from row_world import furnish

# The world ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
async def world(postgres: Any, plant_in: Any) -> AsyncIterator[Any]:
    """A database of this module with the rows of two tenants, and some that no engine would write."""
    name = f"walls_{RandomIds().new().hex}"
    await postgres.order(f"create database {name} owner {OWNER}")
    database = postgres.database(name)
    await migrate(database.migrate_url, database.server_role)
    await furnish(database, plant_in)
    yield database
    await postgres.order(f"drop database {name} with (force)")


# The mutants ----------------------------------------------------------------------------------------------------


class Mutant(NamedTuple):
    """One way to relax the schema."""

    what: str
    statement: str


def terms(expression: str) -> list[str]:
    """The terms that an expression joins by AND at its outermost level; the expression itself if there is only one."""
    inner = expression[1:-1]
    found, depth, begin = [], 0, 0
    for place, letter in enumerate(inner):
        depth += (letter == "(") - (letter == ")")
        if depth == 0 and inner.startswith(" AND ", place):
            found.append(inner[begin:place])
            begin = place + len(" AND ")
    return [*found, inner[begin:]]


def without(expression: str, dropped: int) -> str:
    kept = [term for number, term in enumerate(terms(expression)) if number != dropped]
    return " and ".join(kept) or "true"


async def mutants(connection: Any) -> list[Mutant]:
    """Every policy relaxed in every part, and every table without its wall."""
    found = []
    for table, name, roles, qual, with_check in await connection.fetch(
        "select tablename, policyname, roles::text, qual, with_check from pg_policies where schemaname = 'interlock'"
    ):
        policy = f"alter policy {name} on interlock.{table}"
        found.append(Mutant(f"{table}.{name} for public", f"{policy} to public"))
        found.append(Mutant(f"{table}.{name} for more", f"{policy} to {roles.strip('{}')}, authenticated, anon"))
        for part, expression in (("using", qual), ("with check", with_check)):
            if expression in (None, "true"):
                continue
            found.append(Mutant(f"{table}.{name} {part} anything", f"{policy} {part} (true)"))
            for number, term in enumerate(terms(expression)):
                relaxed = f"{policy} {part} ({without(expression, number)})"
                found.append(Mutant(f"{table}.{name} {part} without {term}", relaxed))
    for (table,) in await connection.fetch("select tablename from pg_tables where schemaname = 'interlock'"):
        found += [
            Mutant(f"{table} without walls", f"alter table interlock.{table} disable row level security"),
            Mutant(f"{table} open to its owner", f"alter table interlock.{table} no force row level security"),
            Mutant(f"{table} with a door", f"create policy door on interlock.{table} to authenticated using (true)"),
            Mutant(f"{table} granted", f"grant truncate on interlock.{table} to authenticated"),
        ]
    found += [
        Mutant("workflows.* granted", "grant update on interlock.workflows to authenticated"),
        Mutant("workflows.user_id granted", "grant update (user_id) on interlock.workflows to authenticated"),
    ]
    return found


# The tests ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHECKS)
async def test_on_the_true_schema(world, name):
    """G9."""
    connection = await asyncpg.connect(world.serve_url)
    async with trying(connection):
        await CHECKS[name](connection)
    await connection.close()


async def test_every_relaxed_policy_is_caught_by_a_named_check(world, note_figures):
    """G9."""
    connection = await asyncpg.connect(world.superuser_url)
    async with trying(connection):
        assert await failing(connection) == set()
    everything = await mutants(connection)
    missed = []
    for mutant in everything:
        async with trying(connection):
            await connection.execute(mutant.statement)
            if await caught_by(connection, CATALOGUE_CHECKS | ROW_CHECKS) is None:
                missed.append(mutant)
    relaxed = {mutant.what.split(" ")[0] for mutant in everything}
    policies = await connection.fetch(
        "select tablename || '.' || policyname from pg_policies where schemaname = 'interlock'"
    )
    await connection.close()
    assert {name for (name,) in policies} <= relaxed, "every policy has mutants"
    assert not missed
    assert len(everything) > 150
    note_figures(policies=len(policies), policy_mutants=len(everything), policy_mutants_missed=len(missed))


async def test_conditions_alone_catch_what_they_are_for(world):
    """The checks that look at rows find a relaxed condition without any that looks at the catalogue."""
    connection = await asyncpg.connect(world.superuser_url)
    for mutant in await mutants(connection):
        if " using " in mutant.what or " with check " in mutant.what:
            async with trying(connection):
                await connection.execute(mutant.statement)
                assert await caught_by(connection, ROW_CHECKS), mutant.what
    await connection.close()


async def test_the_serving_login_is_bound(world):
    """G9."""
    connection = await asyncpg.connect(world.serve_url)
    row = await connection.fetchrow(
        """select rolsuper, rolbypassrls, rolinherit, session_user = 'interlock_server' as is_it
          from pg_roles where rolname = session_user"""
    )
    assert tuple(row) == (False, False, False, True)
    for table in ("workflows", "events", "keys", "runners", "migrations", "events_rest"):
        assert await is_refused(connection, f"select from interlock.{table}"), table
    await connection.close()


async def test_a_partition_made_later_has_its_wall_too(world):
    connection = await asyncpg.connect(world.superuser_url)
    async with trying(connection):
        await connection.execute("set local role interlock_engine")
        assert await connection.fetchval("select interlock.ensure_partitions(9)") > 0
        await connection.execute("reset role")
        assert await failing(connection) == set()
    await connection.close()
