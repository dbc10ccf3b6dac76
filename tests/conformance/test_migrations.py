"""Migrations bring any database forward: once, whole, in turn, and never over what they do not know."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from interlock.backends.store.postgres import migrate as migrate_module
from interlock.backends.store.postgres.migrate import (
    MIGRATIONS,
    SCHEMA_VERSION,
    Migration,
    MigrationStatus,
    migrate,
    read_migrations,
    status,
)
from interlock.backends.store.postgres.store import PostgresStore
from interlock.core.errors import ErrorKind, InterlockError

NAMES = [migration.name for migration in MIGRATIONS]
DEADLINE_SECONDS = 20.0


def following(*texts: str) -> list[Migration]:
    """The real migrations and some after them."""
    first = SCHEMA_VERSION + 1
    return [
        *MIGRATIONS,
        *(Migration(first + i, f"{first + i:04}_more", text, f"sum {i}") for i, text in enumerate(texts)),
    ]


async def refusal(doing: Any) -> InterlockError:
    with pytest.raises(InterlockError) as refused:
        await doing
    return refused.value


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def schema_of(url: str) -> list[tuple[Any, ...]]:
    """All tables, columns, indexes, functions and policies of the schema, to compare two databases."""
    async with connected(url) as connection:
        rows = await connection.fetch(
            """select 'column', table_name, column_name, data_type || is_nullable || coalesce(column_default, '')
              from information_schema.columns where table_schema = 'interlock'
            union all select 'index', tablename, indexname, indexdef from pg_indexes where schemaname = 'interlock'
            union all select 'policy', tablename, policyname, coalesce(qual, '') || coalesce(with_check, '')
              from pg_policies where schemaname = 'interlock'
            union all select 'function', proname, '', prosrc from pg_proc
              where pronamespace = to_regnamespace('interlock')
            order by 1, 2, 3, 4"""
        )
    return [tuple(row) for row in rows]


async def test_an_empty_database_is_brought_up_and_then_left_alone(empty_database):
    assert await status(empty_database.migrate_url) == MigrationStatus([], NAMES)
    assert await migrate(empty_database.migrate_url, empty_database.server_role) == NAMES
    assert await status(empty_database.migrate_url) == MigrationStatus(NAMES, [])
    before = await schema_of(empty_database.superuser_url)
    assert await migrate(empty_database.migrate_url, empty_database.server_role) == []
    assert await schema_of(empty_database.superuser_url) == before


async def test_asking_for_the_status_changes_nothing(empty_database):
    await status(empty_database.migrate_url)
    assert await schema_of(empty_database.superuser_url) == []


async def test_later_migrations_follow_the_earlier_ones(own_database):
    url, role = own_database.migrate_url, own_database.server_role
    more = following("create table interlock.one (x int)", "alter table interlock.one add y int")
    assert (await status(url, more)).pending == [migration.name for migration in more[-2:]]
    assert await migrate(url, role, more[:-1]) == [more[-2].name]
    assert await migrate(url, role, more) == [more[-1].name]
    async with connected(own_database.serve_url) as connection, connection.transaction():
        await connection.execute("set local role authenticated")
        assert await connection.fetchval("select interlock.schema_version()") == SCHEMA_VERSION + 2


async def test_a_failing_migration_is_undone_whole_and_those_before_it_stay(own_database):
    url, role = own_database.migrate_url, own_database.server_role
    more = following("create table interlock.one (x int)", "create table interlock.two (x int); select 1 / 0")
    error = await refusal(migrate(url, role, more))
    assert (error.kind, error.code) == (ErrorKind.INTERNAL, "MIGRATION_FAILED")
    assert more[-1].name in error.message
    assert "division by zero" in error.message
    assert (await status(url, more)).pending == [more[-1].name]
    tables = {row[1] for row in await schema_of(own_database.superuser_url)}
    assert "one" in tables
    assert "two" not in tables


async def test_two_migrators_take_turns(empty_database):
    url, role = empty_database.migrate_url, empty_database.server_role
    applied = await asyncio.gather(*(migrate(url, role) for _ in range(4)))
    assert sorted(applied) == [[], [], [], NAMES]


async def test_a_migrator_that_waits_too_long_for_its_turn_says_so(own_database, monkeypatch):
    monkeypatch.setattr(migrate_module, "_TURN", "50ms")
    async with connected(own_database.migrate_url) as other:
        await other.execute("select pg_advisory_lock(7305, 0)")
        error = await refusal(migrate(own_database.migrate_url, own_database.server_role))
    assert error.kind is ErrorKind.UNAVAILABLE
    assert "Another migrator" in error.message


async def test_a_migration_does_not_queue_up_behind_a_busy_table(own_database, monkeypatch):
    monkeypatch.setattr(migrate_module, "_LOCK", "50ms")
    more = following("create table interlock.one (x int); alter table interlock.workflows add x int")
    async with connected(own_database.superuser_url) as reader, reader.transaction():
        await reader.execute("lock table interlock.workflows in access share mode")
        error = await refusal(migrate(own_database.migrate_url, own_database.server_role, more))
    assert (error.kind, error.retryable) == (ErrorKind.UNAVAILABLE, True)
    assert "one" not in {row[1] for row in await schema_of(own_database.superuser_url)}
    assert await migrate(own_database.migrate_url, own_database.server_role, more) == [more[-1].name]


def test_a_migration_may_wait_five_seconds_for_a_lock():
    assert migrate_module._LOCK == "5s"


# Whoever runs this trigger is dead: it counts the commands of its database and kills at the chosen one.
KILL_AT = """
create table public.told (commands int);
insert into public.told values ({at});
create sequence public.counted;
create function public.kill() returns event_trigger language plpgsql security definer as $$
begin
  if nextval('public.counted') = (select commands from public.told) then
    perform pg_terminate_backend(pg_backend_pid());
  end if;
end $$;
create event trigger kill on ddl_command_end execute function public.kill();
"""


async def commands_of_a_migration(database: Any) -> int:
    """How many commands that change the schema there are in all; the migration is done afterwards."""
    async with connected(database.superuser_url) as superuser:
        await superuser.execute(KILL_AT.format(at=0))
        await migrate(database.migrate_url, database.server_role)
        return int(await superuser.fetchval("select last_value from public.counted"))


async def test_a_migrator_may_be_killed_at_any_statement(postgres, empty_database, at_length):
    """At each of them at length; else at the first ones, the last, and as many between them however many there are."""
    commands = await commands_of_a_migration(empty_database)
    whole = await schema_of(empty_database.superuser_url)
    assert commands > 100
    some = [*range(1, 7), *range(7, commands, commands // 16), commands]
    for at in range(1, commands + 1) if at_length else some:
        name = f"{empty_database.name}_{at}"
        await postgres.order(f"create database {name} owner interlock_owner")
        victim = postgres.database(name)
        async with connected(victim.superuser_url) as superuser:
            await superuser.execute(KILL_AT.format(at=at))
            error = await refusal(migrate(victim.migrate_url, victim.server_role))
            assert error.kind is ErrorKind.UNAVAILABLE, f"at {at}: {error}"
            applied = (await status(victim.migrate_url)).applied
            assert applied == NAMES[: len(applied)] != NAMES, "whole files, in order, and not the one it died in"
            assert await migrate(victim.migrate_url, victim.server_role) == NAMES[len(applied) :]
        assert await schema_of(victim.superuser_url) == whole
        await postgres.order(f"drop database {name} with (force)")


async def test_a_changed_migration_is_refused(own_database):
    url, role = own_database.migrate_url, own_database.server_role
    changed = [Migration(1, NAMES[0], "select 1", "another sum"), *MIGRATIONS[1:]]
    for doing in (migrate(url, role, changed), status(url, changed)):
        error = await refusal(doing)
        assert (error.kind, error.code) == (ErrorKind.CONFLICT, "MIGRATION_CHANGED")
        assert NAMES[0] in error.message


async def test_a_database_of_a_newer_release_is_refused(own_database):
    url, role = own_database.migrate_url, own_database.server_role
    more = following("create table interlock.one (x int)")
    await migrate(url, role, more)
    for doing in (migrate(url, role), status(url)):
        error = await refusal(doing)
        assert (error.kind, error.code) == (ErrorKind.CONFLICT, "DATABASE_NEWER")
        assert more[-1].name in error.message


async def test_an_unfit_serving_role_is_refused_before_anything_is_done(postgres, empty_database):
    locked, heir = empty_database.name + "_locked", empty_database.name + "_heir"
    await postgres.order(f"create role {locked} nologin")
    await postgres.order(f"create role {heir} login")
    refused = [
        ("nobody here", "does not exist"),
        ("interlock_super", "superuser"),
        ("interlock_owner", "must own nothing"),
        (locked, "may not log in"),
    ]
    connection = await asyncpg.connect(empty_database.superuser_url)
    if connection.get_server_version().major < 16:  # from then on each grant says whether it is inherited
        refused.append((heir, f"alter role {heir} noinherit"))
    await connection.close()
    for role, reason in refused:
        error = await refusal(migrate(empty_database.migrate_url, role))
        assert error.code == "SERVER_ROLE_UNFIT"
        assert reason in error.message
    assert await schema_of(empty_database.superuser_url) == []
    await postgres.order(f"drop role {locked}, {heir}")


async def test_only_the_owner_migrates(postgres, own_database):
    other = own_database.name + "_other"
    await postgres.order(f"create role {other} login password 'o'")
    url = re.sub(r"//[^@]*@", f"//{other}:o@", own_database.migrate_url)
    for doing in (migrate(url, own_database.server_role), status(url)):
        error = await refusal(doing)
        assert (error.kind, error.code) == (ErrorKind.DENIED, "MIGRATION_DENIED")
    await postgres.order(f"drop role {other}")


async def test_the_serving_login_is_told_how_far_the_schema_is(empty_database):
    url, role = empty_database.migrate_url, empty_database.server_role
    more = following("create table interlock.one (x int)")
    assert await status(empty_database.serve_url, more) == MigrationStatus([], [*NAMES, more[-1].name])
    await migrate(url, role)
    assert await status(empty_database.serve_url, more) == MigrationStatus(NAMES, [more[-1].name])
    await migrate(url, role, more)
    assert await status(empty_database.serve_url) == MigrationStatus(NAMES, []), "a newer one is fine"


async def test_an_unreachable_database_is_unavailable(own_database):
    wrong = own_database.migrate_url.replace("interlock_owner:", "interlock_owner:not")
    for url in (wrong, "postgresql://u:secret@127.0.0.1:1/d"):
        error = await refusal(migrate(url, "interlock_server"))
        assert error.kind is ErrorKind.UNAVAILABLE
        assert "secret" not in error.message


async def test_the_record_of_migrations_is_the_owners_alone(own_database):
    async with connected(own_database.serve_url) as connection:
        for role in ("interlock_server", "authenticated", "interlock_engine"):
            await connection.execute(f"set role {role}")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch("select * from interlock.migrations")


async def test_a_database_that_supabase_made_is_brought_up_too(postgres, empty_database):
    """Its roles exist, the migrating role is none of their makers but may grant them, default grants are wide."""
    name = empty_database.name
    owner, server = f"{name}_owner", f"{name}_server"
    async with connected(empty_database.superuser_url) as superuser:
        await superuser.execute("create schema auth; create schema extensions")
        await superuser.execute(f"create role {owner} login createrole createdb bypassrls password 'o'")
        await superuser.execute(f"create role {server} login noinherit password 's'")
        await superuser.execute(f"grant create on database {name} to {owner}")
        for role in ("anon", "authenticated", "interlock_engine", "interlock_access"):
            await superuser.execute(f"grant {role} to {owner} with admin option")
        await superuser.execute(f"grant {server} to {owner} with admin option")
        await superuser.execute(f"alter default privileges for role {owner} grant all on tables to anon, authenticated")
    url = re.sub(r"//[^@]*@", f"//{owner}:o@", empty_database.migrate_url)
    assert await migrate(url, server) == NAMES
    store = PostgresStore(re.sub(r"//[^@]*@", f"//{server}:s@", empty_database.serve_url))
    await store.open()
    assert await store.is_writable()
    await store.close()
    async with connected(empty_database.superuser_url) as superuser:
        wide = """select grantee, table_name, privilege_type from information_schema.role_table_grants
          where table_schema = 'interlock' and (grantee = 'anon' or grantee = 'authenticated'
            and privilege_type not in ('SELECT', 'INSERT', 'UPDATE')
            and not (privilege_type = 'DELETE'
              and table_name in ('registry_nodes', 'registry_flows', 'scratch', 'webhooks', 'drafts', 'draft_tasks',
                'draft_edges')))"""
        assert await superuser.fetch(wide) == []
    await postgres.order(f"drop database {name} with (force)")
    await postgres.order(f"drop owned by {owner}, {server}; drop role {owner}, {server}")
    await postgres.order(f"create database {name}")


async def test_a_serving_role_that_was_granted_everything_before_needs_no_grant(postgres, empty_database):
    """An owner that may not grant the roles is enough if somebody else has done so."""
    name = empty_database.name
    owner, server = f"{name}_owner", f"{name}_server"
    async with connected(empty_database.superuser_url) as superuser:
        await superuser.execute(f"create role {owner} login password 'o'")
        await superuser.execute(f"create role {server} login noinherit password 's'")
        await superuser.execute(f"grant authenticated, interlock_engine, interlock_access to {server}")
        await superuser.execute(f"grant create on database {name} to {owner}")
    assert await migrate(re.sub(r"//[^@]*@", f"//{owner}:o@", empty_database.migrate_url), server) == NAMES
    await postgres.order(f"drop database {name} with (force)")
    await postgres.order(f"drop owned by {owner}, {server}; drop role {owner}, {server}")
    await postgres.order(f"create database {name}")


def test_files_are_numbered_one_by_one(tmp_path: Path):
    for name in ("0001_core.sql", "0002_more.sql", "notes.txt"):
        (tmp_path / name).write_text(f"select '{name}'")
    assert [(migration.number, migration.name) for migration in read_migrations(tmp_path)] == [
        (1, "0001_core"),
        (2, "0002_more"),
    ]
    (tmp_path / "0004_gap.sql").write_text("select 4")
    with pytest.raises(ValueError, match="one by one"):
        read_migrations(tmp_path)
    (tmp_path / "0004_gap.sql").rename(tmp_path / "0002_twice.sql")
    with pytest.raises(ValueError, match="one by one"):
        read_migrations(tmp_path)


def test_a_checksum_is_that_of_the_file(tmp_path: Path):
    (tmp_path / "0001_core.sql").write_text("select 1")
    (before,) = read_migrations(tmp_path)
    (tmp_path / "0001_core.sql").write_text("select 1 ")
    (after,) = read_migrations(tmp_path)
    assert before.checksum != after.checksum
    assert re.fullmatch("[0-9a-f]{64}", before.checksum)
