"""Three days of a relay whose receiver is down, in a second: the clocks of relay and database are the test's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from standardwebhooks import Webhook as Outside

from conftest import Database, Plant
from interlock.backends.secrets.aes_gcm import AesGcmSecrets
from interlock.backends.secrets.given_keys import GivenKeys
from interlock.backends.store.postgres.connection import connect_as_engine
from interlock.backends.store.postgres.webhook_ledger import PostgresWebhooks
from interlock.backends.store.postgres.webhook_secrets import PostgresSigningSecrets
from interlock.backends.telemetry.prometheus import PrometheusTelemetry
from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.webhook import make_secret
from interlock.kit.clock import ManualClock
from interlock.kit.ids import RandomIds
from interlock.ports.egress import EgressResponse
from interlock.ports.webhooks import of_webhook
from interlock.runtime.relay import Relay

WAITS = (5, 30, 120, 600, 1800, 3600, 7200, 14_400, 28_800, 36_000)
SECRET = make_secret(b"s" * 32)


@dataclass
class Receiver:
    """Answers each call as it is told, 500 without a word, and keeps what it got."""

    answers: list[EgressResponse | InterlockError] = field(default_factory=list)
    got: list[tuple[datetime, Mapping[str, str], bytes]] = field(default_factory=list)
    clock: ManualClock = field(default_factory=lambda: ManualClock(datetime(2026, 11, 22, tzinfo=UTC)))

    async def request(self, method: str, url: str, **told: Any) -> EgressResponse:
        self.got.append((self.clock.now(), told["headers"], told["body"]))
        answer = self.answers.pop(0) if self.answers else EgressResponse(500, {}, b"", False)
        if isinstance(answer, InterlockError):
            raise answer
        return answer


@dataclass
class Days:
    """A relay with one message for one webhook."""

    relay: Relay
    receiver: Receiver
    connection: Any
    webhook_id: UUID
    disabled: list[tuple[str, UUID, str]]

    async def delivery(self) -> Any:
        return await self.connection.fetchrow("select * from interlock.deliveries")

    async def pass_until(self, at: datetime) -> None:
        """Let the time be ``at`` for everybody."""
        clock = self.receiver.clock
        clock.advance(at - clock.now())
        shift = (clock.now() - datetime.now(UTC)).total_seconds()
        await self.connection.execute("select set_config('interlock.clock_shift', $1, false)", f"{shift:.6f} s")

    async def attempt(self) -> Any:
        """One more attempt; the delivery once it is written down."""
        count = len(self.receiver.got)
        self.relay.wake()
        async with asyncio.timeout(8):
            while not ((found := await self.delivery()) and len(found["log"]) > 2 and found["log"].count("{") > count):
                await asyncio.sleep(0.005)
        return found


@pytest.fixture
async def days(own_database: Database, plant_in: Plant) -> AsyncIterator[Days]:
    connection, turn = await connect_as_engine(own_database.serve_url), asyncio.Lock()

    @asynccontextmanager
    async def use() -> AsyncIterator[Any]:
        async with turn:
            yield connection

    receiver, ids, disabled = Receiver(), RandomIds(), []
    rows = PostgresWebhooks(use)
    secrets = PostgresSigningSecrets(
        use, AesGcmSecrets(GivenKeys(["a key for tests, of 32 bytes or more"])), receiver.clock
    )
    webhook_id = ids.new()
    await secrets.put("t", of_webhook(webhook_id), SECRET)
    planted = await plant_in(own_database, tenant_id="t", status="succeeded")
    superuser = await asyncpg.connect(own_database.superuser_url)
    await superuser.execute(
        """insert into interlock.webhooks (webhook_id, tenant_id, user_id, url, events)
          values ($1, 't', 'ann', 'https://r.example/hook', '{execution.started}')""",
        webhook_id,
    )
    await superuser.execute("insert into interlock.outbox values ($1, 1, 't')", planted.execution_id)
    await superuser.close()
    telemetry = PrometheusTelemetry("0")
    relay = Relay(rows, secrets, receiver, receiver.clock, telemetry, lambda *told: disabled.append(told))
    lent = Days(relay, receiver, Shared(connection, turn), webhook_id, disabled)
    await lent.pass_until(datetime.now(UTC))
    relay.start()
    yield lent
    await relay.stop()
    await connection.close()


class Shared:
    """The connection of the relay, used by one at a time."""

    def __init__(self, connection: Any, turn: asyncio.Lock) -> None:
        self._connection = connection
        self._turn = turn

    async def fetchrow(self, *told: Any) -> Any:
        async with self._turn:
            return await self._connection.fetchrow(*told)

    async def execute(self, *told: Any) -> None:
        async with self._turn:
            await self._connection.execute(*told)


async def test_a_message_is_tried_for_a_day_with_growing_waits_and_one_id(days: Days) -> None:
    """J5."""
    for wait in WAITS:
        found = await days.attempt()
        assert found["status"] == "pending"
        waited = (found["due_at"] - days.receiver.clock.now()).total_seconds()
        assert 0.79 * wait - 2 <= waited <= 1.21 * wait + 2
        await days.pass_until(found["due_at"] + timedelta(milliseconds=1))
    found = await days.attempt()
    assert (found["status"], found["due_at"], found["attempts"]) == ("failed", None, len(WAITS) + 1)
    assert days.disabled == [("t", days.webhook_id, "failing")]
    await days.pass_until(days.receiver.clock.now() + timedelta(days=2))
    days.relay.wake()
    got = days.receiver.got
    assert timedelta(hours=20) < got[-1][0] - got[0][0] < timedelta(hours=36)
    assert len({headers["webhook-id"] for _, headers, _ in got}) == 1
    assert len({body for _, _, body in got}) == 1
    for at, headers, body in got:
        assert headers["webhook-timestamp"] == str(int(at.timestamp())), "a time of its own"
        signed = Outside(SECRET).sign(headers["webhook-id"], at, body.decode())
        assert headers["webhook-signature"] == signed
    assert len(got) == len(WAITS) + 1, "nothing is sent of what was given up"


@pytest.mark.parametrize(
    ("answer", "status", "error"),
    [
        (InterlockError(ErrorKind.TIMEOUT, "TIMEOUT", "slow", retryable=True), None, "TIMEOUT"),
        (
            InterlockError(ErrorKind.EXTERNAL, "EXTERNAL_SERVICE_ERROR", "away", retryable=True),
            None,
            "EXTERNAL_SERVICE_ERROR",
        ),
        (EgressResponse(302, {"location": "/x"}, b"", False), 302, None),
        (EgressResponse(400, {}, b"", False), 400, None),
        (EgressResponse(429, {"retry-after": "Sun, 22 Nov 2099 00:00:00 GMT"}, b"", False), 429, None),
    ],
)
async def test_whatever_is_not_2xx_is_tried_again(
    days: Days, answer: EgressResponse | InterlockError, status: int | None, error: str | None
) -> None:
    """J5."""
    days.receiver.answers = [answer, EgressResponse(204, {}, b"", False)]
    found = await days.attempt()
    assert found["status"] == "pending"
    assert found["due_at"] - days.receiver.clock.now() <= timedelta(days=1, seconds=2), "a day is the longest wish"
    await days.pass_until(found["due_at"] + timedelta(milliseconds=1))
    found = await days.attempt()
    assert (found["status"], days.disabled) == ("delivered", [])
