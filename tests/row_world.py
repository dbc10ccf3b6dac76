"""The rows that the checks of row-level security look at: two tenants with the same, and some that no engine writes."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import asyncpg

from interlock.kit.ids import RandomIds
from row_checks import ADD_DELIVERY, ADD_KEY, ADD_NAME, ADD_REGISTERED, ADD_WEBHOOK, ANN, AUDITED, OPERATOR, A, B

TOLD = """
create schema told;
create table told.workflows (tenant_id text, shared uuid, private uuid);
create table told.private_workflows (workflow_id uuid);
create table told.private_executions (execution_id uuid, user_id text);
grant usage on schema told to public;
grant select on all tables in schema told to public;
"""


async def furnish(database: Any, plant_in: Any) -> None:
    """Put the rows into a migrated database that has none."""
    superuser = await asyncpg.connect(database.superuser_url)
    await superuser.execute(TOLD)
    for tenant_id in (A, B):
        shared, private = [await add_workflow(superuser, tenant_id, kind) for kind in ("tenant", "private")]
        await superuser.execute("insert into told.workflows values ($1, $2, $3)", tenant_id, shared, private)
        await superuser.execute("insert into told.private_workflows values ($1)", private)
        for is_private in (False, True):
            planted = (await plant_in(database, tenant_id=tenant_id, user_id=ANN, is_private=is_private)).execution_id
            if is_private:
                await superuser.execute("insert into told.private_executions values ($1, $2)", planted, ANN)
            other = B if tenant_id == A else A
            await superuser.execute(
                """insert into interlock.inbox (execution_id, inbox_seq, tenant_id, kind, trace_id)
                  values ($1, 9, $2, 'x', '')""",
                planted,
                other,
            )
        await add_version(superuser, shared, B if tenant_id == A else A, number=99)
        await superuser.execute("insert into interlock.tenants (tenant_id) values ($1)", tenant_id)
        for statement in ADD_REGISTERED.values():
            await superuser.execute(statement, tenant_id, "1")
        await superuser.execute(ADD_KEY, tenant_id, ANN)
        for scope in ("session", "execute"):
            await superuser.execute(ADD_NAME, tenant_id, scope)
        await superuser.execute(ADD_WEBHOOK, tenant_id, ANN)
        for private_to in (None, ANN):
            await superuser.execute(ADD_DELIVERY, tenant_id, private_to)
        await superuser.execute(f"insert into interlock.audit {AUDITED.replace(A, tenant_id)}")
    for tenant_id in ("", OPERATOR):
        await superuser.execute(f"insert into interlock.audit {AUDITED.replace(A, tenant_id)}")
    await superuser.close()


async def add_workflow(connection: Any, tenant_id: str, visibility: str) -> UUID:
    workflow_id = RandomIds().new()
    await connection.execute(
        """insert into interlock.workflows (workflow_id, tenant_id, user_id, visibility, kind, name, version_id, number,
          source) values ($1, $2, 'ann', $3, 'graph', 'n', gen_random_uuid(), 1, '{}')""",
        workflow_id,
        tenant_id,
        visibility,
    )
    await add_version(connection, workflow_id, tenant_id, number=1)
    return workflow_id


async def add_version(connection: Any, workflow_id: UUID, tenant_id: str, number: int) -> None:
    await connection.execute(
        """insert into interlock.versions (version_id, workflow_id, tenant_id, number, digest, definition, source,
          created_by) values (gen_random_uuid(), $1, $2, $3, 'd', '{}', '{}', 'ann')""",
        workflow_id,
        tenant_id,
        number,
    )
