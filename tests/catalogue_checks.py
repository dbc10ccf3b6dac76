"""Named checks of what the catalogue says: a second wall, for what no row shows."""

from __future__ import annotations

from typing import Any

import asyncpg

from interlock.backends.store.embedded.roles import OWNER
from row_checks import READABLE, ROW_CHECKS, Check, trying

CATALOGUE_CHECKS: dict[str, Check] = {}

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
    ("interlock_engine", "task_logs"): {"SELECT", "INSERT"},
    **{("interlock_engine", table): {"SELECT", "INSERT", "DELETE"} for table in ("blobs", "blob_parts", "code")},
    ("interlock_engine", "draft_tasks"): {"SELECT"},
    ("interlock_engine", "workflows"): {"SELECT"},
    ("interlock_engine", "versions"): {"SELECT"},
    **{("interlock_engine", table): {"SELECT", "INSERT", "UPDATE"} for table in ("budgets", "model_calls")},
    ("interlock_engine", "model_results"): {"SELECT", "INSERT", "UPDATE", "DELETE"},
    ("interlock_engine", "budget_slices"): {"SELECT", "INSERT", "UPDATE", "DELETE"},
    ("authenticated", "registry_nodes"): {"SELECT", "INSERT", "UPDATE", "DELETE"},
    ("authenticated", "registry_flows"): {"SELECT", "INSERT", "UPDATE"},
    ("authenticated", "scratch"): {"SELECT", "INSERT", "UPDATE", "DELETE"},
    **{
        ("authenticated", table): {"SELECT", "INSERT", "UPDATE", "DELETE"}
        for table in ("drafts", "draft_tasks", "draft_edges")
    },
    ("interlock_engine", "registry_flows"): {"SELECT"},
    ("interlock_engine", "node_totals"): {"SELECT", "INSERT", "UPDATE"},
    ("authenticated", "tenants"): {"SELECT"},
    ("authenticated", "webhooks"): {"SELECT", "INSERT", "DELETE"},
    ("interlock_engine", "webhooks"): {"SELECT", "UPDATE"},
    **{
        ("interlock_engine", table): {"SELECT", "INSERT", "UPDATE", "DELETE"}
        for table in ("webhook_secrets", "outbox", "deliveries", "callback_messages")
    },
    ("interlock_engine", "registry_nodes"): {"SELECT"},
    ("interlock_engine", "workers"): {"SELECT", "INSERT", "UPDATE", "DELETE"},
    ("authenticated", "node_versions"): {"SELECT", "INSERT"},
    ("interlock_engine", "node_versions"): {"SELECT", "DELETE"},
    ("authenticated", "audit"): {"SELECT"},
    ("authenticated", "api_keys"): {"INSERT"},
    ("interlock_access", "tenants"): {"SELECT", "INSERT"},
    ("interlock_access", "api_keys"): {"SELECT", "DELETE"},
    ("interlock_access", "tickets"): {"SELECT", "INSERT", "DELETE"},
    ("interlock_access", "nonces"): {"SELECT", "INSERT", "DELETE"},
    ("interlock_access", "answers"): {"SELECT", "INSERT", "UPDATE", "DELETE"},
    ("interlock_access", "stream_seats"): {"SELECT", "INSERT", "UPDATE", "DELETE"},
    ("interlock_access", "audit"): {"INSERT", "DELETE"},
    ("interlock_access", "users"): {"SELECT", "INSERT", "UPDATE"},
    ("interlock_access", "logins"): {"SELECT", "INSERT", "UPDATE", "DELETE"},
    ("interlock_access", "refresh_tokens"): {"SELECT", "INSERT", "UPDATE", "DELETE"},
    ("interlock_access", "login_attempts"): {"SELECT", "INSERT", "DELETE"},
}


COLUMN_GRANTS = {
    ("interlock_engine", "blobs", "UPDATE"): {"created_at"},
    ("interlock_engine", "code", "UPDATE"): {"form", "author", "content", "seal", "created_at"},
    ("authenticated", "keys", "SELECT"): {"tenant_id", "scope", "key", "execution_id"},
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
    },
    ("authenticated", "api_keys", "SELECT"): {
        "key_id",
        "public_id",
        "tenant_id",
        "client_name",
        "scopes",
        "tier",
        "signing",
        "last4",
        "allowed_tools",
        "allowed_models",
        "created_at",
        "created_by",
        "expires_at",
        "revoked_at",
        "replaced_by",
        "payer",
        "last_used_at",
    },
    ("authenticated", "api_keys", "UPDATE"): {"expires_at", "revoked_at", "replaced_by"},
    ("interlock_access", "api_keys", "UPDATE"): {"last_used_at"},
    ("interlock_access", "tenants", "UPDATE"): {"title", "disabled_at"},
    ("authenticated", "webhooks", "UPDATE"): {"is_active", "disabled_reason"},
    ("interlock_access", "audit", "SELECT"): {"audit_id", "at"},
}


OPEN_POLICIES = {"engine": "{interlock_engine}", "access": "{interlock_access}", "owner_only": f"{{{OWNER}}}"}


def catalogue_check(function: Check) -> Check:
    """A named check of what the catalogue says: a second wall, for what no row shows."""
    CATALOGUE_CHECKS[function.__name__.replace("_", " ")] = function
    return function


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
          from pg_roles r
          where rolname in ('interlock_server', 'authenticated', 'interlock_engine', 'interlock_access', 'anon')"""
    ):
        assert not any(role[1:]), role


@catalogue_check
async def functions_with_the_owners_rights_are_few_and_fixed(connection: Any) -> None:
    rows = await connection.fetch(
        """select proname, prosecdef, proconfig::text as settings,
            exists (select from aclexplode(coalesce(proacl, acldefault('f', proowner))) where grantee = 0) as is_public
          from pg_proc where pronamespace = 'interlock'::regnamespace"""
    )
    definers = {row["proname"] for row in rows if row["prosecdef"]}
    assert definers == {"ensure_partitions", "let_flushes_end", "schema_version"}
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
