"""Named checks of row-level security. Each raises on a schema that lets something through.

They look at a database in which two tenants have the same rows: shared ones and private ones of ``ann``, who exists in
both, and some that no engine would write. Schema ``told`` says which rows are whose.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import msgspec

from interlock.backends.store.embedded.roles import OWNER

A, B = "tenant-a", "tenant-b"
ANN, BEN = "ann", "ben"

Check = Callable[[Any], Awaitable[None]]
ROW_CHECKS: dict[str, Check] = {}
CATALOGUE_CHECKS: dict[str, Check] = {}

# Table, and what says that a row belongs to a private thing of somebody else than $1.
READABLE = {
    "workflows": "visibility = 'private' and user_id <> $1",
    "versions": "created_by <> $1 and workflow_id in (select x.workflow_id from told.private_workflows x)",
    "executions": "visibility = 'private' and user_id <> $1",
    "events": "private_to <> $1",
    "artifacts": "private_to <> $1",
    "approvals": "private_to <> $1",
    "inbox": "execution_id in (select x.execution_id from told.private_executions x where x.user_id <> $1)",
    "live": "private_to <> $1",
}

GRANTS = {
    **{("authenticated", table): {"SELECT"} for table in READABLE},
    ("authenticated", "workflows"): {"SELECT", "INSERT"},
    ("authenticated", "versions"): {"SELECT", "INSERT"},
    **{
        ("interlock_engine", table): {"SELECT", "INSERT", "UPDATE", "DELETE"}
        for table in ("live", "keys", "runners", "journals")
    },
    **{
        ("interlock_engine", table): {"SELECT", "INSERT", "UPDATE"}
        for table in ("executions", "inbox", "approvals", "artifacts")
    },
    ("interlock_engine", "events"): {"SELECT", "INSERT"},
    ("interlock_engine", "blobs"): {"SELECT", "INSERT"},
    ("interlock_engine", "workflows"): {"SELECT"},
    ("interlock_engine", "versions"): {"SELECT"},
}

COLUMN_GRANTS = {
    ("authenticated", "workflows", "UPDATE"): {
        "visibility",
        "kind",
        "name",
        "description",
        "tags",
        "icon_url",
        "version_id",
        "number",
        "source",
        "updated_at",
        "deleted_at",
    }
}

OPEN_POLICIES = {"engine": "{interlock_engine}", "owner_only": f"{{{OWNER}}}"}


def row_check(function: Check) -> Check:
    """A named check of what callers can do: it raises on a schema that lets something through."""
    ROW_CHECKS[function.__name__.replace("_", " ")] = function
    return function


def catalogue_check(function: Check) -> Check:
    """A named check of what the catalogue says: a second wall, for what no row shows."""
    CATALOGUE_CHECKS[function.__name__.replace("_", " ")] = function
    return function


@asynccontextmanager
async def trying(connection: Any) -> AsyncIterator[None]:
    """Whatever is done in here is undone, settings too."""
    attempt = connection.transaction()
    await attempt.start()
    try:
        yield
    finally:
        await attempt.rollback()


async def become(connection: Any, subject: str, tenant_id: str) -> None:
    """Be a caller until the transaction ends."""
    claims = {
        "sub": subject,
        "role": "authenticated",
        "tenant_id": tenant_id,
        "email": None,
        "interlock_role": "member",
    }
    await connection.execute(
        "select set_config('role', 'authenticated', true), set_config('request.jwt.claims', $1, true)",
        msgspec.json.encode(claims).decode(),
    )


async def is_refused(connection: Any, statement: str, *values: object) -> bool:
    """Whether row-level security or a missing right stops a statement."""
    async with trying(connection):
        try:
            await connection.execute(statement, *values)
        except asyncpg.InsufficientPrivilegeError:
            return True
        return False


# The checks -----------------------------------------------------------------------------------------------------


@row_check
async def a_caller_sees_rows_of_its_own_tenant_only(connection: Any) -> None:
    for subject, tenant_id in ((ANN, A), (BEN, A), (ANN, B)):
        await become(connection, subject, tenant_id)
        for table in READABLE:
            mine = await connection.fetchval(f"select count(*) from interlock.{table} where tenant_id = $1", tenant_id)
            seen = await connection.fetchval(f"select count(*) from interlock.{table}")
            assert mine > 0, f"{subject}@{tenant_id} sees nothing in {table}"
            assert seen == mine, f"{subject}@{tenant_id} sees foreign rows in {table}"


@row_check
async def private_rows_are_hidden_from_colleagues(connection: Any) -> None:
    await become(connection, BEN, A)
    for table, is_private in READABLE.items():
        seen = await connection.fetchval(f"select count(*) from interlock.{table} where {is_private}", BEN)
        assert seen == 0, f"{BEN} sees private rows in {table}"


@row_check
async def private_rows_are_seen_by_their_owner(connection: Any) -> None:
    await become(connection, ANN, A)
    for table, is_private in READABLE.items():
        seen = await connection.fetchval(f"select count(*) from interlock.{table} where {is_private}", BEN)
        assert seen > 0, f"{ANN} does not see her own private rows in {table}"


@row_check
async def without_claims_there_are_no_rows(connection: Any) -> None:
    for claims in ("", "{}", '{"sub": "ann"}', f'{{"sub": null, "tenant_id": null, "email": "{A}"}}'):
        await connection.execute(
            "select set_config('role', 'authenticated', true), set_config('request.jwt.claims', $1, true)", claims
        )
        for table in READABLE:
            assert not await connection.fetchval(f"select count(*) from interlock.{table}"), f"{table} with {claims!r}"


@row_check
async def the_login_itself_sees_no_rows(connection: Any) -> None:
    await connection.execute("set local role interlock_server")
    for table in READABLE:
        assert await is_refused(connection, f"select from interlock.{table}"), table


ADD_WORKFLOW = """insert into interlock.workflows (workflow_id, tenant_id, user_id, visibility, kind, name, version_id,
  number, source) values (gen_random_uuid(), $1, $2, 'tenant', 'graph', 'n', gen_random_uuid(), 1, '{}')"""
ADD_VERSION = """insert into interlock.versions (version_id, workflow_id, tenant_id, number, digest, definition, source,
  created_by) values (gen_random_uuid(), $1, $2, 50, 'd', '{}', '{}', 'ann')"""


@row_check
async def a_caller_adds_workflows_for_itself_only(connection: Any) -> None:
    await become(connection, ANN, A)
    assert not await is_refused(connection, ADD_WORKFLOW, A, ANN)
    assert await is_refused(connection, ADD_WORKFLOW, A, BEN), "for a colleague"
    assert await is_refused(connection, ADD_WORKFLOW, B, ANN), "for another tenant"


@row_check
async def a_caller_adds_versions_to_what_it_sees_only(connection: Any) -> None:
    shared, private = await connection.fetchrow("select shared, private from told.workflows where tenant_id = $1", A)
    foreign = await connection.fetchval("select shared from told.workflows where tenant_id = $1", B)
    await become(connection, BEN, A)
    assert not await is_refused(connection, ADD_VERSION, shared, A)
    assert await is_refused(connection, ADD_VERSION, private, A), "to a private workflow"
    assert await is_refused(connection, ADD_VERSION, foreign, A), "to a foreign workflow"
    assert await is_refused(connection, ADD_VERSION, shared, B), "in the name of another tenant"


@row_check
async def a_blind_update_touches_nothing_but_what_is_seen(connection: Any) -> None:
    # Without a condition the policy for reading is not asked, so that for updates is on its own.
    for subject, tenant_id in ((BEN, A), (ANN, B)):
        await become(connection, subject, tenant_id)
        seen = await connection.fetchval("select count(*) from interlock.workflows")
        async with trying(connection):
            done = await connection.execute("update interlock.workflows set description = 'mine'")
        assert done == f"UPDATE {seen}", f"{subject}@{tenant_id}: {done} of {seen}"


@row_check
async def whose_a_workflow_is_and_which_one_stays_as_it_is(connection: Any) -> None:
    shared = await connection.fetchval("select shared from told.workflows where tenant_id = $1", A)
    changes = ("user_id = 'ben'", "workflow_id = gen_random_uuid()", f"tenant_id = '{B}'", "created_at = now()")
    for subject in (ANN, BEN):
        await become(connection, subject, A)
        for change in changes:
            statement = f"update interlock.workflows set {change} where workflow_id = $1"
            assert await is_refused(connection, statement, shared), f"{subject} sets {change}"
        allowed = "update interlock.workflows set name = 'other', deleted_at = now() where workflow_id = $1"
        assert not await is_refused(connection, allowed, shared), f"{subject} may change what it says"


@row_check
async def a_colleague_cannot_hide_what_the_tenant_shares(connection: Any) -> None:
    hide = "update interlock.workflows set visibility = 'private'"
    await become(connection, BEN, A)
    assert await is_refused(connection, hide)
    await become(connection, ANN, A)
    assert not await is_refused(connection, hide)


@catalogue_check
async def every_table_has_row_security_on_and_forced(connection: Any) -> None:
    open_tables = await connection.fetch(
        """select relname from pg_class where relnamespace = 'interlock'::regnamespace and relkind in ('r', 'p')
          and not (relrowsecurity and relforcerowsecurity)"""
    )
    assert not open_tables, open_tables


@catalogue_check
async def policies_without_condition_are_those_of_engine_and_owner(connection: Any) -> None:
    for table, name, roles in await connection.fetch(
        """select tablename, policyname, roles::text from pg_policies
          where schemaname = 'interlock' and (qual = 'true' or with_check = 'true')"""
    ):
        assert OPEN_POLICIES.get(name) == roles, f"{table}.{name} is open to {roles}"


@catalogue_check
async def every_policy_names_one_role(connection: Any) -> None:
    for table, name, roles in await connection.fetch(
        "select tablename, policyname, roles::text from pg_policies where schemaname = 'interlock'"
    ):
        assert roles == OPEN_POLICIES.get(name, "{authenticated}"), f"{table}.{name} is for {roles}"


@catalogue_check
async def each_role_has_the_listed_rights_and_no_others(connection: Any) -> None:
    rows = await connection.fetch(
        """select coalesce(r.rolname, 'public') as role, c.relname, array_agg(a.privilege_type) as rights
          from pg_class c cross join lateral aclexplode(c.relacl) a left join pg_roles r on r.oid = a.grantee
          where c.relnamespace = 'interlock'::regnamespace and c.relkind in ('r', 'p') and a.grantee <> c.relowner
          group by 1, 2"""
    )
    assert {(row["role"], row["relname"]): set(row["rights"]) for row in rows} == GRANTS


@catalogue_check
async def each_role_may_change_the_listed_columns_and_no_others(connection: Any) -> None:
    rows = await connection.fetch(
        """select coalesce(r.rolname, 'public') as role, c.relname, a.privilege_type,
            array_agg(t.attname::text) as names
          from pg_class c join pg_attribute t on t.attrelid = c.oid cross join lateral aclexplode(t.attacl) a
          left join pg_roles r on r.oid = a.grantee
          where c.relnamespace = 'interlock'::regnamespace
          group by 1, 2, 3"""
    )
    found = {(row["role"], row["relname"], row["privilege_type"]): set(row["names"]) for row in rows}
    assert found == COLUMN_GRANTS


@catalogue_check
async def the_roles_that_serve_have_no_powers(connection: Any) -> None:
    for role in await connection.fetch(
        """select rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication,
            exists (select from pg_class where relowner = r.oid) or exists (select from pg_proc where proowner = r.oid)
              or exists (select from pg_namespace where nspowner = r.oid) as owns
          from pg_roles r where rolname in ('interlock_server', 'authenticated', 'interlock_engine', 'anon')"""
    ):
        assert not any(role[1:]), role


@catalogue_check
async def functions_with_the_owners_rights_are_few_and_fixed(connection: Any) -> None:
    rows = await connection.fetch(
        """select proname, prosecdef, proconfig::text as settings,
            exists (select from aclexplode(coalesce(proacl, acldefault('f', proowner))) where grantee = 0) as is_public
          from pg_proc where pronamespace = 'interlock'::regnamespace"""
    )
    assert {row["proname"] for row in rows if row["prosecdef"]} == {"ensure_partitions", "schema_version"}
    assert {row["proname"] for row in rows if row["is_public"]} == {"schema_version"}
    assert {row["settings"] for row in rows} == {'{"search_path=\\"\\""}'}


CHECKS = ROW_CHECKS | CATALOGUE_CHECKS


async def failing(connection: Any) -> set[str]:
    """The names of the checks that catch something, inside an open transaction."""
    caught = set()
    for name, function in CHECKS.items():
        async with trying(connection):
            try:
                await function(connection)
            except (AssertionError, asyncpg.InsufficientPrivilegeError):
                caught.add(name)
    return caught
