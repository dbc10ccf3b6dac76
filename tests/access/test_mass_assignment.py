"""Whose something is, which one it is and who made it is never for the caller to say."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import pytest

from access.route_probes import BODIES, OPERATIONS, Probe, body_of, filled, unknown
from access.transcript import Transcript
from figures import Note
from interlock.doors.http.plumbing.operation import Operation, Policy
from tenants_house import at_rest, owner_of_everything, rows_of

OWNERSHIP = ("tenant_id", "user_id", "owner")
READ_ONLY: dict[str, Any] = {
    "id": "01a20000-0000-7000-8000-000000000001",
    "role": "admin",
    "roles": ["admin"],
    "scopes": ["admin"],
    "is_admin": True,
    "version": 99,
    "number": 99,
    "status": "SUCCESS",
    "created_at": "2001-01-01T00:00:00Z",
    "created_by": "somebody-else",
    "decided_by": "somebody-else",
    "registered_by": "somebody-else",
    "subject": "somebody-else",
    "app_metadata": {"interlock_role": "admin", "tenant_id": "default"},
    "spent_usd": -1,
    "tier": "development",
    "trace_id": "0" * 32,
    "private_to": "somebody-else",
    "system": True,
    "__proto__": {"role": "admin"},
    "__class__": "x",
}
"""What callers may read or what the server keeps for itself."""
WITH_BODY = [one for one in OPERATIONS if one.body is not None and one.policy is not Policy.OPEN]


def probe(operation: Operation, own: dict[str, str], **more: Any) -> Probe:
    """A good request with more in its body, about what is nobody's where it has an id."""
    path = filled(operation.paths()[0], unknown(own))
    return Probe(operation, "body", path, (), {**body_of(operation), **more})


@pytest.mark.parametrize("field", OWNERSHIP)
async def test_a_body_names_no_other_owner(tenants: Any, database: Any, field: str, note_figures: Note) -> None:
    """G6: at every route with a body, as a person and as a program."""
    before = await at_rest(database.superuser_url, tenants.b.tenant_id)
    transcript = Transcript(tenants.a)
    others = (tenants.b.tenant_id, None, [tenants.a.tenant_id])
    accepted = []
    for operation in WITH_BODY:
        for other in others:
            status, text = await transcript.ask(probe(operation, tenants.a.ids, **{field: other}))
            if status != 403 or "TENANT_MISMATCH" not in text.upper():
                accepted.append((operation.method, operation.route, other, status, text[:200]))
    assert not accepted
    assert await rows_of(database.superuser_url, tenants.b.tenant_id) == before
    note_figures(ownership_requests=transcript.count, ownership_accepted=len(accepted))


async def test_a_workflow_of_another_tenant_is_nobodys_child(tenants: Any, serving: Any, database: Any) -> None:
    """G6: named by its id or by its name, it is told from one that nobody has by no word and starts nothing.

    Whoever asks has a tenant of its own: it says the other's word itself, and would have it in its lists from then on.
    """
    a, b = await owner_of_everything(serving.mint, tenants.a.http), tenants.b
    before, told = await at_rest(database.superuser_url, b.tenant_id), []
    nobody = unknown(b.ids)["workflow_id"]
    for wanted in (b.ids["workflow_id"], b.word, nobody):
        child = {"id": "child", "type": "subworkflow", "parameters": {"workflow": wanted}}
        stored = await a.ask("POST", "/api/app/workflows", {"name": "Parent", "nodes": [child]})
        path = f"/api/app/workflows/{stored['workflow_id']}/execute"
        ended = await a.ask("POST", path, {"wait_ms": 10_000})
        assert ended["status"] == "ERROR", ended
        shown = await a.ask("GET", f"/api/app/executions/{ended['execution_id']}")
        told.append(json.dumps(shown["error"]).replace(wanted, "WANTED"))
    assert len(set(told)) == 1, told
    assert await rows_of(database.superuser_url, b.tenant_id) == before


async def test_a_header_names_no_other_tenant(tenants: Any) -> None:
    """G6: whatever it is called."""
    transcript = Transcript(tenants.a)
    for operation in OPERATIONS:
        if operation.policy is Policy.OPEN:
            continue
        path = filled(operation.paths()[0], unknown(tenants.a.ids) | {"model": "x"})
        headers = {"x-tenant-id": tenants.b.tenant_id}
        status, text = await transcript.ask(Probe(operation, "header", path, (), body_of(operation), {}, headers))
        assert status == 403, (operation.route, status, text[:200])


async def test_what_a_caller_may_not_set_is_refused_or_ignored(tenants: Any, database: Any) -> None:
    """G6: nothing that is stored afterwards says what was forged; nobody is worth more than was asked for."""
    transcript = Transcript(tenants.a)
    own = {key for operation in WITH_BODY for key in BODIES[operation.body.__name__]}  # type: ignore[union-attr]
    for operation in WITH_BODY:
        known = {*operation.body.__struct_encode_fields__, *own, *operation.aliases}  # type: ignore[union-attr]
        forged = {name: value for name, value in READ_ONLY.items() if name not in known}
        status, text = await transcript.ask(probe(operation, tenants.a.ids, **forged))
        assert status < 500, (operation.route, text[:300])
    connection = await asyncpg.connect(database.superuser_url)
    tenant = tenants.a.tenant_id
    try:
        believed = await connection.fetchval(
            """select (select count(*) from interlock.workflows where tenant_id = $1 and user_id <> $2)
                + (select count(*) from interlock.api_keys where tenant_id = $1
                    and (created_by <> $2 or ('admin' = any (scopes) and client_name = 'own') or tier <> 'standard'))
                + (select count(*) from interlock.users where tenant_id = $1 and role = 'admin')
                + (select count(*) from interlock.executions where tenant_id = $1 and user_id <> $2)
                + (select count(*) from interlock.webhooks where tenant_id = $1 and user_id <> $2)
                + (select count(*) from interlock.workflows where tenant_id = $1 and created_at < '2002-01-01')""",
            tenant,
            tenants.a.subject,
        )
    finally:
        await connection.close()
    assert believed == 0
