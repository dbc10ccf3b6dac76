"""Outbox, deliveries and callbacks as ``interlock_engine``: what works for all tenants."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from interlock.backends.store.postgres.queries import load
from interlock.backends.store.postgres.rows import definition_of
from interlock.backends.store.postgres.session import explained
from interlock.core.callback import TARGET
from interlock.core.errors import unavailable
from interlock.core.events import FORMAT, CallbackReceived, encode_data
from interlock.core.subscription import Try
from interlock.core.workflow import Definition, FlowDefinition
from interlock.ports.webhooks import AcceptedCallback, CallbackTarget, Due, FlowPosition, RegisteredNode

_SQL = load("webhooks")
_KEEP_TRIES = 5
Use = Callable[[], AbstractAsyncContextManager["asyncpg.Connection[Any]"]]
"""Lends a connection that acts as ``interlock_engine``, outside any transaction."""


class PostgresWebhooks:
    """Satisfies ``RegisteredNodes``, ``CallbackRows`` and ``Outbox`` of ``ports/webhooks``.

    Raises UNAVAILABLE or TIMEOUT if the database does not answer.
    """

    def __init__(self, use: Use) -> None:
        self._use = use

    async def node_for(self, execution_id: UUID, tenant_id: str, node_id: str) -> RegisteredNode | None:
        rows = await self._rows("node_for", execution_id, tenant_id, node_id)
        return RegisteredNode(**rows[0]) if rows else None

    async def is_registered(self, tenant_id: str, node_id: str) -> bool:
        return bool((await self._rows("is_registered", tenant_id, node_id))[0][0])

    async def bind_message(self, tenant_id: str, signer: str, message_id: str, execution_id: UUID) -> bool:
        return bool((await self._rows("bind_message", tenant_id, signer, message_id, execution_id))[0][0])

    async def session_id(self, execution_id: UUID) -> str:
        rows = await self._rows("session_id", execution_id)
        return str(rows[0][0]) if rows else str(execution_id)

    # Callbacks ---------------------------------------------------------------------------------------------

    async def callback_target(self, execution_id: UUID, step: str) -> CallbackTarget | None:
        rows = await self._rows("callback_target", execution_id)
        if not rows:
            return None
        has_step, node_id = _step(definition_of(rows[0]["definition"]), step)
        return CallbackTarget(
            tenant_id=rows[0]["tenant_id"],
            status=rows[0]["status"],
            is_ended=rows[0]["is_ended"],
            has_step=has_step,
            node_id=node_id,
        )

    async def accepted_callbacks(self, execution_id: UUID) -> list[AcceptedCallback]:
        return [AcceptedCallback(*row) for row in await self._rows("accepted_callbacks", execution_id)]

    async def was_accepted(self, execution_id: UUID, first_seq: int, last_seq: int) -> tuple[bool, str]:
        rows = await self._rows("was_accepted", execution_id, first_seq, last_seq)
        return (rows[0]["accepted"], rows[0]["reason"]) if rows else (False, "not recorded")

    async def position(self, execution_id: UUID) -> FlowPosition:
        rows = await self._rows("position", execution_id)
        active = msgspec.json.decode(rows[0]["active"] or "[]")
        return FlowPosition(
            status=rows[0]["status"],
            waiting_reason=rows[0]["waiting_reason"],
            active=tuple(name for name in active if name is not None),
        )

    async def late_callbacks(self, execution_id: UUID, digest: str, step: str) -> tuple[int, bool]:
        row = (await self._rows("late_callbacks", execution_id, digest, step))[0]
        return row["count"], row["is_known"]

    async def keep_late(
        self, execution_id: UUID, tenant_id: str, told: dict[str, Any], event: CallbackReceived, trace_id: str
    ) -> None:
        payload, data = msgspec.json.encode(told).decode(), encode_data(event).decode()
        for _ in range(_KEEP_TRIES):  # another late one may take the number
            kept = (execution_id, tenant_id, payload, event.by, trace_id, data, FORMAT)
            if await self._rows("keep_late", *kept):
                return
        raise unavailable("Too many callbacks come at once for a session that has ended; send this one again")

    # Outbox ------------------------------------------------------------------------------------------------

    async def fan_out(self, limit: int) -> int:
        return int((await self._rows("fan_out", limit))[0][0])

    async def take_due(
        self,
        limit: int,
        per_webhook: int,
        busy: Collection[UUID],
        lease: float,
        room: int,
        under_way: Mapping[str, int],
    ) -> list[Due]:
        bounds = (limit, per_webhook, list(busy), timedelta(seconds=lease), room)
        rows = await self._rows("take_due", *bounds, list(under_way), list(under_way.values()))
        return [Due(**row) for row in rows]

    async def settle(
        self, due: Due, told: Try, *, is_delivered: bool, retry_in: float | None, disable: str | None
    ) -> bool:
        log = msgspec.json.encode([told]).decode()
        again = timedelta(seconds=retry_in) if retry_in is not None else None
        rows = await self._rows("settle", due.delivery_id, due.attempt, log, is_delivered, again, disable)
        return any(row["is_off"] for row in rows)

    async def redeliver(self, tenant_id: str, delivery_id: UUID) -> UUID | None:
        rows = await self._rows("redeliver", delivery_id, tenant_id)
        return rows[0][0] if rows else None

    async def purge(self, keep_days: int) -> None:
        await self._rows("purge", timedelta(days=keep_days))
        await self._rows("purge_messages")
        await self._rows("purge_nodes")
        await self._rows("purge_secrets")

    async def _rows(self, name: str, *values: object) -> list[asyncpg.Record]:
        return await fetch(self._use, _SQL[name], *values)


async def fetch(use: Use, statement: str, *values: object) -> list[asyncpg.Record]:
    """The rows of one statement on a lent connection. Raises UNAVAILABLE or TIMEOUT."""
    with explained():
        async with use() as connection:
            with explained(connection):
                return await connection.fetch(statement, *values)


def _step(definition: Definition, step: str) -> tuple[bool, str | None]:
    """Whether there is such a step with a node, and the registered node it calls."""
    if isinstance(definition, FlowDefinition):
        return step in definition.nodes, _node_id(definition.parameters.get(step, {}).get(TARGET))
    found = next((node for node in definition.nodes if node.id == step), None)
    return found is not None, _node_id(found.parameters.get(TARGET)) if found is not None else None


def _node_id(told: Any) -> str | None:
    found = told.get("node_id") if isinstance(told, dict) else None
    return found if isinstance(found, str) else None
