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

A, B = "tenant-a", "tenant-b"
OPERATOR = "default"
ANN, BEN = "ann", "ben"

Check = Callable[[Any], Awaitable[None]]
ROW_CHECKS: dict[str, Check] = {}

# Table, and what says that a row belongs to a private thing of somebody else than $1.
READABLE = {
    "workflows": "visibility = 'private' and user_id <> $1",
    "versions": "created_by <> $1 and workflow_id in (select x.workflow_id from told.private_workflows x)",
    "executions": "visibility = 'private' and user_id <> $1",
    "events": "private_to <> $1",
    "artifacts": "private_to <> $1",
    "task_logs": "private_to <> $1",
    "approvals": "private_to <> $1",
    "inbox": "execution_id in (select x.execution_id from told.private_executions x where x.user_id <> $1)",
    "live": "private_to <> $1",
    "deliveries": "private_to <> $1",
}

# Tables without private rows: everybody of the tenant sees them all.
TENANT_WIDE = [
    "tenants",
    "api_keys",
    "audit",
    "registry_nodes",
    "node_versions",
    "registry_flows",
    "scratch",
    "drafts",
    "draft_tasks",
    "draft_edges",
    "webhooks",
    "keys",
]


def row_check(function: Check) -> Check:
    """A named check of what callers can do: it raises on a schema that lets something through."""
    ROW_CHECKS[function.__name__.replace("_", " ")] = function
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
        for table in (*READABLE, *TENANT_WIDE):
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
        for table in (*READABLE, *TENANT_WIDE):
            assert not await connection.fetchval(f"select count(*) from interlock.{table}"), f"{table} with {claims!r}"


@row_check
async def the_login_itself_sees_no_rows(connection: Any) -> None:
    await connection.execute("set local role interlock_server")
    for table in (*READABLE, *TENANT_WIDE, "tickets", "nonces", "stream_seats", "workers"):
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


ADD_REGISTERED = {
    "registry_nodes": """insert into interlock.registry_nodes (tenant_id, node_id, name, endpoint, timeout_seconds,
  version_id, registered_by) values ($1, 'n' || $2, 'N', 'http://x.example', 1, gen_random_uuid(), 'ann')""",
    "node_versions": """insert into interlock.node_versions (version_id, tenant_id, node_id, endpoint,
  timeout_seconds, has_headers) values (gen_random_uuid(), $1, 'n' || $2, 'http://x.example', 1, false)""",
    "registry_flows": "insert into interlock.registry_flows values ($1, 'f' || $2, gen_random_uuid())",
    "scratch": """insert into interlock.scratch (tenant_id, session_id, key, value, size, expires_at)
  values ($1, 's', 'k' || $2, '1', 1, now() + interval '1 day')""",
    "drafts": """insert into interlock.drafts (tenant_id, draft_id, made_by)
  values ($1, md5('draft' || $1 || $2)::uuid, 'ann')""",
    "draft_tasks": """insert into interlock.draft_tasks (tenant_id, draft_id, task_id, number, kind, name)
  values ($1, md5('draft' || $1 || '1')::uuid, 't' || $2, 1, 'code', 'n')""",
    "draft_edges": """insert into interlock.draft_edges (tenant_id, draft_id, source, target, kind)
  values ($1, md5('draft' || $1 || '1')::uuid, 'a', 'b' || $2, 'drawn')""",
}
"""A row of a tenant ($1), told from others by a text ($2)."""


@row_check
async def a_caller_registers_for_its_own_tenant_only(connection: Any) -> None:
    await become(connection, ANN, A)
    for table, statement in ADD_REGISTERED.items():
        assert not await is_refused(connection, statement, A, "2"), table
        assert await is_refused(connection, statement, B, "2"), f"{table} for another tenant"


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


ADD_KEY = """insert into interlock.api_keys (key_id, public_id, tenant_id, client_name, scopes, tier, digest, last4,
  created_at, created_by) values (gen_random_uuid(), gen_random_uuid()::text, $1, 'n', '{}', 'standard', 'd', '0000',
  now(), $2)"""


@row_check
async def a_caller_adds_keys_to_its_tenant_in_its_own_name_only(connection: Any) -> None:
    await become(connection, ANN, A)
    assert not await is_refused(connection, ADD_KEY, A, ANN)
    assert await is_refused(connection, ADD_KEY, A, BEN), "in the name of a colleague"
    assert await is_refused(connection, ADD_KEY, B, ANN), "to another tenant"


@row_check
async def a_blind_end_of_keys_ends_none_of_another_tenant(connection: Any) -> None:
    for tenant_id in (A, B):
        await become(connection, ANN, tenant_id)
        seen = await connection.fetchval("select count(*) from interlock.api_keys")
        async with trying(connection):
            done = await connection.execute("update interlock.api_keys set revoked_at = now()")
        assert done == f"UPDATE {seen}", f"{tenant_id}: {done} of {seen}"


@row_check
async def what_a_key_is_compared_with_is_shown_to_no_caller(connection: Any) -> None:
    await become(connection, ANN, A)
    assert await is_refused(connection, "select digest from interlock.api_keys")
    assert await is_refused(connection, "update interlock.api_keys set digest = 'mine'")
    assert await is_refused(connection, "update interlock.api_keys set scopes = '{admin}'")
    for table in ("tickets", "nonces", "stream_seats"):
        assert await is_refused(connection, f"select from interlock.{table}"), table


ADD_NAME = """insert into interlock.keys (tenant_id, scope, key, digest, execution_id, expires_at)
  values ($1, $2, 'order-1', '', gen_random_uuid(), 'infinity')"""


@row_check
async def of_keys_a_caller_sees_the_names_of_sessions_only(connection: Any) -> None:
    await become(connection, BEN, A)
    seen = await connection.fetch("select tenant_id, scope, key from interlock.keys")
    assert [tuple(row) for row in seen] == [(A, "session", "order-1")]
    for column in ("digest", "answer", "status", "expires_at"):
        assert await is_refused(connection, f"select {column} from interlock.keys")


ADD_WEBHOOK = """insert into interlock.webhooks (webhook_id, tenant_id, user_id, url, events)
  values (gen_random_uuid(), $1, $2, 'http://x.example', '{execution.started}')"""
ADD_DELIVERY = """insert into interlock.deliveries (webhook_id, tenant_id, private_to, execution_id, seq, type)
  select webhook_id, tenant_id, $2, gen_random_uuid(), 1, 'execution.started' from interlock.webhooks
  where tenant_id = $1 limit 1"""


@row_check
async def a_caller_adds_webhooks_to_its_tenant_in_its_own_name_only(connection: Any) -> None:
    await become(connection, ANN, A)
    assert not await is_refused(connection, ADD_WEBHOOK, A, ANN)
    assert await is_refused(connection, ADD_WEBHOOK, A, BEN), "with the eyes of a colleague"
    assert await is_refused(connection, ADD_WEBHOOK, B, ANN), "to another tenant"


@row_check
async def a_blind_change_or_end_of_webhooks_reaches_none_of_another_tenant(connection: Any) -> None:
    for tenant_id in (A, B):
        await become(connection, BEN, tenant_id)
        seen = await connection.fetchval("select count(*) from interlock.webhooks")
        for statement in ("update interlock.webhooks set is_active = false", "delete from interlock.webhooks"):
            async with trying(connection):
                done = await connection.execute(statement)
            assert done.split(" ")[-1] == str(seen), f"{tenant_id}: {done} of {seen}"


@row_check
async def nobody_can_send_a_webhook_elsewhere_or_see_its_secret(connection: Any) -> None:
    await become(connection, ANN, A)
    for change in ("url = 'http://evil.example'", "user_id = 'ben'", "events = '{}'", f"tenant_id = '{B}'"):
        assert await is_refused(connection, f"update interlock.webhooks set {change}"), change
    for table in ("webhook_secrets", "outbox", "callback_messages"):
        assert await is_refused(connection, f"select from interlock.{table}"), table
    assert await is_refused(connection, "update interlock.deliveries set status = 'pending'")


@row_check
async def the_audit_log_is_only_added_to(connection: Any) -> None:
    await become(connection, ANN, A)
    assert await is_refused(connection, f"insert into interlock.audit {AUDITED}"), "by a caller"
    for role in ("authenticated", "interlock_access"):
        await connection.execute("select set_config('role', $1, true)", role)
        for statement in ("update interlock.audit set code = ''", "delete from interlock.audit"):
            assert await is_refused(connection, statement), f"{role}: {statement}"


@row_check
async def calls_that_named_no_tenant_are_for_the_operator(connection: Any) -> None:
    seen = "select tenant_id from interlock.audit"
    for tenant_id, rows in ((A, {A}), (OPERATOR, {OPERATOR, ""})):
        await become(connection, ANN, tenant_id)
        assert {row["tenant_id"] for row in await connection.fetch(seen)} == rows, tenant_id


AUDITED = """(audit_id, tenant_id, at, subject, kind, action, target, outcome, status, code, door, client, user_agent,
  trace_id, request_id)
  values (gen_random_uuid(), 'tenant-a', now(), 's', 'user', 'a', '', 'done', 200, '', 'app', '', '', '', '')"""


async def caught_by(connection: Any, checks: dict[str, Check]) -> str | None:
    """The name of the first of these checks that catches something, inside an open transaction."""
    for name, function in checks.items():
        async with trying(connection):
            try:
                await function(connection)
            except (AssertionError, asyncpg.InsufficientPrivilegeError):
                return name
    return None
