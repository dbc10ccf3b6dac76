"""The relay: tells webhooks of committed events, each message until it is taken or given up.

A message is claimed by moving its due time one lease ahead, so that it is due again if this process dies before it
wrote down how the call ended. Its receiver may then get it twice, under one id. Messages of one webhook may overtake
each other; ``seq`` in the body says what came first. No webhook waits for another. However many calls of some tenants
hang, there are places left for the others: a tenant may have a share of those that are free.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TypeAlias
from uuid import UUID

import msgspec
import structlog

from interlock.core.errors import InterlockError
from interlock.core.subscription import Try, describe_event, message_id
from interlock.core.webhook import retry_after, sign, traceparent
from interlock.kit import failpoints
from interlock.kit.clock import Clock
from interlock.ports.egress import ASKER, Egress, EgressResponse
from interlock.ports.telemetry import WebhookTelemetry
from interlock.ports.webhooks import Due, Outbox, SigningSecrets, of_webhook

POLL = 1.0
"""Seconds between looks at what is due, unless somebody says that there is something."""
TURN_SECONDS = 0.05
"""Between two looks at the least: what comes meanwhile is taken together."""
CALL_SECONDS = 15.0
"""Time for one call."""
LEASE = 30.0
"""Seconds after which a message is due again that nobody wrote down the end of."""
AT_ONCE = 500
PER_WEBHOOK = 4
_SHARE = 4
"""A tenant may have a fourth as many calls under way as there are places free."""
KEEP_DAYS = 30
GONE, FAILING = "gone", "failing"
OnDisabled: TypeAlias = Callable[[str, UUID, str], None]
"""Hears that a webhook was turned off: tenant, webhook, why."""
_HOUR = 3600.0
_READ = 4096  # bytes of an answer; nothing in it matters
_BLOCKED = "EGRESS_BLOCKED"

failpoints.declare("relay.before_call", "relay.after_call", "relay.after_settle")
log = structlog.get_logger("relay")


class Relay:
    """One per process; any number of processes share the work."""

    def __init__(
        self,
        outbox: Outbox,
        secrets: SigningSecrets,
        egress: Egress,
        clock: Clock,
        telemetry: WebhookTelemetry,
        on_disabled: OnDisabled,
    ) -> None:
        self._outbox = outbox
        self._secrets = secrets
        self._egress = egress
        self._clock = clock
        self._telemetry = telemetry
        self._on_disabled = on_disabled
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._calls: set[asyncio.Task[None]] = set()
        self._flying: Counter[UUID] = Counter()
        self._of_tenant: Counter[str] = Counter()
        self._purged = 0.0

    def start(self) -> None:
        """Begin to look and to call."""
        self._purged = self._clock.monotonic()
        self._task = asyncio.create_task(self._run(), name="relay")

    async def stop(self) -> None:
        """End; calls under way are broken off and made again when their lease is over."""
        tasks = [*self._calls, *([self._task] if self._task is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def wake(self) -> None:
        """There is something to tell."""
        self._woken.set()

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            try:
                is_more = await self._turn()
            except Exception as error:  # noqa: BLE001 - the next turn looks again; the database may be away
                log.warning("relay.turn_failed", reason=f"{type(error).__name__}: {error}"[:300])
                is_more = False
            await asyncio.sleep(TURN_SECONDS)
            if not is_more:
                await self._rest()

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(POLL):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _turn(self) -> bool:
        """Make deliveries of new events and begin to call those that are due; whether there is more to do at once."""
        if self._clock.monotonic() - self._purged > _HOUR:
            self._purged = self._clock.monotonic()
            await self._outbox.purge(KEEP_DAYS)
        taken = await self._outbox.fan_out(AT_ONCE)
        free = AT_ONCE - len(self._calls)
        busy = [webhook_id for webhook_id, count in self._flying.items() if count >= PER_WEBHOOK]
        room = max(1, free // _SHARE)
        turn = (free + 1) // 2  # never all of them, so that there is something left to share
        due = await self._outbox.take_due(turn, PER_WEBHOOK, busy, LEASE, room, self._of_tenant) if free > 0 else []
        for delivery in due:
            self._begin(delivery)
        return taken == AT_ONCE or bool(due)

    def _begin(self, due: Due) -> None:
        self._flying[due.webhook_id] += 1
        self._of_tenant[due.tenant_id] += 1
        task = asyncio.create_task(self._deliver(due), name=f"relay {due.delivery_id}")
        self._calls.add(task)
        task.add_done_callback(lambda ended: self._end(ended, due))

    def _end(self, task: asyncio.Task[None], due: Due) -> None:
        self._calls.discard(task)
        self._flying[due.webhook_id] -= 1
        self._of_tenant[due.tenant_id] -= 1
        self._flying, self._of_tenant = +self._flying, +self._of_tenant
        self._woken.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("relay.delivery_left", reason=f"{type(error).__name__}: {error}"[:300])

    async def _deliver(self, due: Due) -> None:
        failpoints.hit("relay.before_call")
        at, began = self._clock.now(), self._clock.monotonic()
        answer, error = await self._call(due, at)
        failpoints.hit("relay.after_call")
        told = Try(
            attempt=due.attempt,
            at=at,
            status=answer.status if answer is not None else None,
            error=error.code if error is not None else None,
            milliseconds=int((self._clock.monotonic() - began) * 1000),
        )
        await self._settle(due, told, answer)
        failpoints.hit("relay.after_settle")

    async def _call(self, due: Due, at: datetime) -> tuple[EgressResponse | None, InterlockError | None]:
        secrets = await self._secrets.good(due.tenant_id, of_webhook(due.webhook_id))
        body = body_of(due)
        headers = {"content-type": "application/json", **sign(secrets, message_id(due.delivery_id), at, body)}
        if (trace := traceparent(due.trace_id, due.delivery_id.hex[16:])) is not None:
            headers["traceparent"] = trace
        asker = ASKER.set(due.tenant_id)
        try:
            answer = await self._egress.request(
                "POST", due.url, headers=headers, body=body, timeout=CALL_SECONDS, max_bytes=_READ
            )
        except InterlockError as error:
            return None, error
        finally:
            ASKER.reset(asker)
        return answer, None

    async def _settle(self, due: Due, told: Try, answer: EgressResponse | None) -> None:
        if answer is not None and 200 <= answer.status < 300:
            await self._outbox.settle(due, told, is_delivered=True, retry_in=None, disable=None)
            self._telemetry.webhook_ended("out", "delivered")
        elif answer is not None and answer.status == 410:
            await self._give_up(due, told, GONE)
        elif told.error == _BLOCKED:
            await self._give_up(due, told, None)
        else:
            await self._put_off(due, told, answer)

    async def _put_off(self, due: Due, told: Try, answer: EgressResponse | None) -> None:
        asked = asked_seconds(answer, self._clock.now()) if answer is not None else None
        wait = retry_after(due.failures + 1, random.random(), asked)
        if wait is None:
            await self._give_up(due, told, FAILING)
            return
        await self._outbox.settle(due, told, is_delivered=False, retry_in=wait.total_seconds(), disable=None)
        self._telemetry.webhook_ended("out", "retried")

    async def _give_up(self, due: Due, told: Try, disable: str | None) -> None:
        is_off = await self._outbox.settle(due, told, is_delivered=False, retry_in=None, disable=disable)
        self._telemetry.webhook_ended("out", "failed")
        log.warning("webhook.given_up", webhook_id=str(due.webhook_id), delivery_id=str(due.delivery_id))
        if is_off and disable is not None:
            log.warning("webhook.disabled", webhook_id=str(due.webhook_id), tenant_id=due.tenant_id, reason=disable)
            self._on_disabled(due.tenant_id, due.webhook_id, disable)


def body_of(due: Due) -> bytes:
    """The message, byte for byte the same at every attempt."""
    data = msgspec.Raw(due.data.encode()) if due.data is not None else None
    session = {"session_id": due.session_id or str(due.execution_id), "flow_id": due.flow_id}
    return msgspec.json.encode(
        describe_event(
            execution_id=due.execution_id,
            seq=due.seq,
            event_type=due.type,
            workflow_id=due.workflow_id,
            at=due.at.isoformat().replace("+00:00", "Z"),
            trace_id=due.trace_id,
            data=data,
            session=session if due.is_session else None,
        )
    )


def asked_seconds(answer: EgressResponse, now: datetime) -> float | None:
    """What ``Retry-After`` asks for, a number of seconds or a date; None if it asks for nothing that can be read."""
    text = answer.headers.get("retry-after", "")
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - now).total_seconds())
    except (ValueError, TypeError):  # a date without a zone cannot be compared
        return None
