"""Outbox, deliveries and callbacks as ``interlock_engine``: what works for all tenants."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from interlock.backends.store.postgres.queries import load
from interlock.backends.store.postgres.session import explained
from interlock.core.subscription import Try
from interlock.core.workflow import Definition, FlowDefinition, GraphDefinition
from interlock.ports.webhooks import AcceptedCallback, CallbackTarget, Due

_SQL = load("webhooks")
_definitions: msgspec.json.Decoder[Definition] = msgspec.json.Decoder(Definition)
_KEEP_TRIES = 5
Use = Callable[[], AbstractAsyncContextManager["asyncpg.Connection[Any]"]]
"""Lends a connection that acts as ``interlock_engine``, outside any transaction."""


class PostgresWebhooks:
    """Satisfies ``CallbackRows`` and ``Outbox`` of ``ports/webhooks``.

    ``publish`` is told whether this process's flushes fill the outbox. Raises UNAVAILABLE or TIMEOUT if the database
    does not answer.
    """

    def __init__(self, use: Use, publish: Callable[[bool], None]) -> None:
        self._use = use
        self._publish = publish

    # Callbacks ---------------------------------------------------------------------------------------------

    async def callback_target(self, execution_id: UUID, step: str) -> CallbackTarget | None:
        rows = await self._rows("callback_target", execution_id)
        if not rows:
            return None
        return CallbackTarget(
            tenant_id=rows[0]["tenant_id"],
            status=rows[0]["status"],
            is_ended=rows[0]["is_ended"],
            parameters=_parameters(_definitions.decode(rows[0]["definition"]), step),
        )

    async def accepted_callbacks(self, execution_id: UUID) -> list[AcceptedCallback]:
        return [AcceptedCallback(*row) for row in await self._rows("accepted_callbacks", execution_id)]

    async def was_accepted(self, execution_id: UUID, first_seq: int, last_seq: int) -> tuple[bool, str]:
        rows = await self._rows("was_accepted", execution_id, first_seq, last_seq)
        return (rows[0]["accepted"], rows[0]["reason"]) if rows else (False, "not recorded")

    async def keep_late(
        self, execution_id: UUID, tenant_id: str, told: dict[str, Any], by: str, trace_id: str, reason: str
    ) -> None:
        payload = msgspec.json.encode(told).decode()
        for _ in range(_KEEP_TRIES):  # another late one may take the number
            if await self._rows("keep_late", execution_id, tenant_id, payload, by, trace_id, reason):
                return

    # Outbox ------------------------------------------------------------------------------------------------

    async def has_webhooks(self) -> bool:
        return bool((await self._rows("has_webhooks"))[0][0])

    def publish(self, is_on: bool) -> None:
        self._publish(is_on)

    async def fan_out(self, limit: int) -> int:
        return int((await self._rows("fan_out", limit))[0][0])

    async def take_due(self, limit: int, per_webhook: int, busy: Collection[UUID], lease: float) -> list[Due]:
        rows = await self._rows("take_due", limit, per_webhook, list(busy), timedelta(seconds=lease))
        return [Due(**row) for row in rows]

    async def settle(
        self, due: Due, told: Try, *, is_delivered: bool, retry_in: float | None, disable: str | None
    ) -> None:
        log = msgspec.json.encode([told]).decode()
        again = timedelta(seconds=retry_in) if retry_in is not None else None
        await self._rows("settle", due.delivery_id, due.attempt, log, is_delivered, again, disable)

    async def redeliver(self, tenant_id: str, delivery_id: UUID) -> UUID | None:
        rows = await self._rows("redeliver", delivery_id, tenant_id)
        return rows[0][0] if rows else None

    async def purge(self, keep_days: int) -> None:
        await self._rows("purge", timedelta(days=keep_days))

    async def _rows(self, name: str, *values: object) -> list[asyncpg.Record]:
        return await fetch(self._use, _SQL[name], *values)


async def fetch(use: Use, statement: str, *values: object) -> list[asyncpg.Record]:
    """The rows of one statement on a lent connection. Raises UNAVAILABLE or TIMEOUT."""
    with explained():
        async with use() as connection:
            with explained(connection):
                return await connection.fetch(statement, *values)


def _parameters(definition: Definition, step: str) -> dict[str, Any] | None:
    """Those of the node or flow state ``step``; None if there is no such one, or no node in it."""
    if isinstance(definition, FlowDefinition):
        return definition.parameters.get(step, {}) if step in definition.nodes else None
    nodes = definition.nodes if isinstance(definition, GraphDefinition) else ()
    return next((node.parameters for node in nodes if node.id == step), None)
