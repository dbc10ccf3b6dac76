"""On a Postgres that Supabase set up: its roles, its schemas, and a ``postgres`` that is no superuser.

A cluster of its own, because roles belong to a cluster. What a hosted project gives its user was read from the
migrations of Supabase's own image: CREATEDB, CREATEROLE, REPLICATION and BYPASSRLS without SUPERUSER, ``anon``,
``authenticated`` and ``service_role`` with the right to grant them, the schemas ``auth``, ``extensions`` and
``storage`` owned by others, wide default grants in ``public``, and event triggers of the superuser.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pytest

import catalogue_checks
from catalogue_checks import CHECKS
from interlock.backends.store.embedded import EmbeddedPostgres
from interlock.backends.store.postgres.migrate import MIGRATIONS, migrate
from row_checks import trying
from row_world import furnish
from serving import Serving
from tenants_house import owner_of_everything

pytestmark = pytest.mark.xdist_group("hosted_supabase")  # a cluster of their own, made once
USER = "postgres"
LOGIN = "interlock_server"
PROJECT = f"""
drop database interlock;
drop role interlock_owner, {LOGIN};
create role anon nologin inherit;
create role authenticated nologin inherit;
create role service_role nologin inherit bypassrls;
create role authenticator login noinherit;
create role supabase_auth_admin nologin noinherit createrole;
grant anon, authenticated, service_role to authenticator;
create role {USER} nosuperuser createdb createrole replication bypassrls login password 'project';
grant anon, authenticated, service_role, authenticator to {USER} with admin option;
grant pg_monitor, pg_read_all_data, pg_signal_backend to {USER};
alter role authenticated set statement_timeout = '8s';
alter role authenticator set statement_timeout = '8s';
create database project;
grant all on database project to {USER};
"""
INSIDE = f"""
create schema auth authorization supabase_auth_admin;
create table auth.users (id uuid primary key, email text);
alter table auth.users owner to supabase_auth_admin;
grant usage on schema auth to {USER}, anon, authenticated, service_role;
create function auth.uid() returns uuid language sql stable as
  $$ select nullif(current_setting('request.jwt.claim.sub', true), '')::uuid $$;
create schema extensions;
grant all on schema extensions to {USER};
create schema storage;
grant usage on schema storage to {USER}, anon, authenticated, service_role;
grant usage on schema public to {USER}, anon, authenticated, service_role;
alter default privileges in schema public grant all on tables to {USER}, anon, authenticated, service_role;
alter default privileges for role {USER} in schema public grant all on tables to anon, authenticated, service_role;
alter default privileges for role {USER} in schema public grant all on functions to anon, authenticated, service_role;
create function extensions.note_ddl() returns event_trigger language plpgsql as
  $$ begin perform pg_notify('pgrst', 'reload schema'); end $$;
create event trigger pgrst_ddl_watch on ddl_command_end execute function extensions.note_ddl();
"""
FIRST_STEP = f"create role {LOGIN} login noinherit password 'serving'"
"""What the user of a project does once, as ``postgres``, before migrating."""


@dataclass(frozen=True)
class Project:
    """The addresses of a project's database."""

    migrate_url: str
    serve_url: str
    superuser_url: str
    migrated: Sequence[str] = ()


async def order(url: str, statements: str) -> None:
    """One statement after the other, each on its own."""
    connection = await asyncpg.connect(url)
    try:
        for statement in statements.split(";\n"):
            if statement.strip():
                await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="module")
async def project(request: pytest.FixtureRequest) -> AsyncIterator[Project]:
    """A project as Supabase hands it over, and the login that its user made in it."""
    root = Path(tempfile.mkdtemp(prefix="interlock-project-"))
    root.chmod(0o755)
    server = EmbeddedPostgres(root / "data", request.config.getoption("--postgres-bindir"), root / "shared")
    try:
        urls = await server.start()
        await order(server.superuser_url("postgres"), PROJECT)
        await order(server.superuser_url("project"), INSIDE)

        def url_of(user: str, password: str) -> str:
            return f"postgresql://{user}:{password}@/project?{urls.serve_url.partition('?')[2]}"

        found = Project(url_of(USER, "project"), url_of(LOGIN, "serving"), server.superuser_url("project"))
        await order(found.migrate_url, FIRST_STEP)
        yield replace(found, migrated=await migrate(found.migrate_url, LOGIN))
    finally:
        await server.stop()
        shutil.rmtree(root)


async def test_it_is_brought_up_by_a_user_who_is_no_superuser(project: Project) -> None:
    assert project.migrated == [migration.name for migration in MIGRATIONS]
    assert await migrate(project.migrate_url, LOGIN) == []
    connection = await asyncpg.connect(project.migrate_url)
    rights = await connection.fetchrow(
        "select rolsuper, rolcreaterole, rolbypassrls, rolcanlogin from pg_roles where rolname = current_user"
    )
    owners = await connection.fetch(
        """select distinct pg_get_userbyid(relowner) from pg_class where relnamespace = 'interlock'::regnamespace
          union select pg_get_userbyid(nspowner) from pg_namespace where nspname = 'interlock'"""
    )
    foreign = await connection.fetch(
        """select nspname, relname from pg_class c join pg_namespace n on n.oid = relnamespace
          where nspname in ('public', 'auth', 'extensions', 'storage') and relname <> 'users' and relkind = 'r'"""
    )
    await connection.close()
    assert tuple(rights) == (False, True, True, True)
    assert [tuple(row) for row in owners] == [(USER,)]
    assert foreign == [], "nothing of ours lies outside our schema"


async def test_all_of_it_works_for_a_login_that_owns_nothing(project: Project, tmp_path: Path) -> None:
    """Two tenants make one of everything in a served process: every kind of statement runs, and each sees its own."""
    serving = Serving(tmp_path, project.serve_url, INTERLOCK_LOCAL="true")
    try:
        serving.ready()
        async with httpx2.AsyncClient(base_url=serving.url, timeout=30.0) as http:
            one, other = [await owner_of_everything(serving.mint, http) for _ in range(2)]
            for owner, neighbour in ((one, other), (other, one)):
                for path in ("workflows", "executions", "approvals", "webhooks", "api-keys", "users", "audit"):
                    answer = await http.get(f"/api/app/{path}", headers=owner.headers())
                    assert answer.status_code == 200, answer.text
                    assert neighbour.word.lower() not in answer.text.lower(), path
                    assert neighbour.tenant_id not in answer.text, path
            ready = await http.get("/ready")
        assert ready.json() == {"ready": True}
    finally:
        assert serving.stop() == 0
    assert "error" not in serving.logged().lower(), serving.logged()


@pytest.fixture
async def furnished(project: Project, plant_in: Any) -> Project:
    """The project with the rows that the checks look at, and nothing else."""
    superuser = await asyncpg.connect(project.superuser_url)
    names = await superuser.fetch("select tablename from pg_tables where schemaname = 'interlock'")
    kept = {"migrations", "audit", *(name for (name,) in names if name.startswith(("events_", "executions_")))}
    listed = ", ".join(f"interlock.{name}" for (name,) in names if name not in kept)
    await superuser.execute(f"truncate {listed} cascade")
    await superuser.close()
    await furnish(project, plant_in)
    return project


async def test_the_walls_are_the_same_there(furnished: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every named check of row-level security, as the login that serves."""
    monkeypatch.setitem(catalogue_checks.OPEN_POLICIES, "owner_only", f"{{{USER}}}")
    connection = await asyncpg.connect(furnished.serve_url)
    for check in CHECKS.values():
        async with trying(connection):
            await check(connection)
    await connection.close()
