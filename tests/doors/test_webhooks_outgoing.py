"""Committed events are told to whoever subscribed: signed, at least once under one id, and nobody waits for another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from aiohttp import web
from standardwebhooks import Webhook as Outside

from interlock.core.principal import Scope
from interlock.kit import failpoints
from interlock.services.webhooks import subscribe
from webhook_house import Receiver, receiving, until

ECHO = {"nodes": [{"id": "a", "type": "echo", "parameters": {}}]}


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as found:
        yield found


@pytest.fixture
async def rows(database: Any) -> AsyncIterator[Any]:
    """All-powerful: what is really in the tables, and time that passes at once."""
    connection = await asyncpg.connect(database.superuser_url)
    yield connection
    await connection.close()


async def subscribed(caller: Any, url: str, *events: str, **more: Any) -> dict[str, Any]:
    body = {"url": url, "events": list(events) or ["execution.succeeded"], **more}
    answer = await caller.post("/webhooks", body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def delivered(
    caller: Any, webhook: dict[str, Any], count: int, status: str | None = None
) -> list[dict[str, Any]]:
    """The deliveries, once there are so many of that status with at least an attempt."""

    async def found() -> list[dict[str, Any]] | None:
        answer = await caller.get(f"/webhooks/{webhook['webhook_id']}/deliveries")
        all_of = [one for one in answer.json()["deliveries"] if one["attempts"]]
        wanted = [one for one in all_of if status in (None, one["status"])]
        return wanted if len(wanted) >= count else None

    return list(await until(found, f"{count} deliveries {status or ''}"))


async def let_it_be_due(rows: Any, webhook: dict[str, Any]) -> None:
    """As if the time had come."""
    await rows.execute(
        "update interlock.deliveries set due_at = now() - interval '1 s' where webhook_id = $1 and status = 'pending'",
        UUID(webhook["webhook_id"]),
    )


async def test_a_message_is_signed_and_says_what_happened(caller: Any, receiver: Receiver) -> None:
    webhook = await subscribed(caller, receiver.url)
    execution_id = await caller.started(ECHO, {"n": 1}, wait_ms=5000)
    got = (await receiver.wait_for(1))[0]
    told = Outside(webhook["secret"]).verify(got.body, got.headers)
    assert told["type"] == "execution.succeeded"
    assert set(told) == {"type", "timestamp", "data"}
    assert told["data"]["execution_id"] == execution_id
    assert set(told["data"]) == {"execution_id", "workflow_id", "seq", "trace_id", "event"}
    assert got.headers["traceparent"].split("-")[1] == told["data"]["trace_id"]
    assert "authorization" not in got.headers
    log = (await delivered(caller, webhook, 1, "delivered"))[0]
    assert log["message_id"] == got.headers["webhook-id"]
    assert [(one["attempt"], one["status"]) for one in log["attempts"]] == [(1, 204)]


async def test_only_what_was_asked_for_is_told(caller: Any, receiver: Receiver) -> None:
    wanted = await caller.stored(ECHO)
    await subscribed(caller, receiver.url, "execution.*", workflow_id=wanted)
    await caller.started(ECHO, wait_ms=5000)
    await caller.post(f"/workflows/{wanted}/execute", {"wait_ms": 5000})
    got = await receiver.wait_for(2)
    assert {one.json["type"] for one in got} == {"execution.started", "execution.succeeded"}
    assert {one.json["data"]["workflow_id"] for one in got} == {wanted}


async def test_another_tenant_hears_and_sees_nothing(caller: Any, make_caller: Any, receiver: Receiver) -> None:
    """G5."""
    webhook = await subscribed(caller, receiver.url)
    stranger = await make_caller()
    await stranger.started(ECHO, wait_ms=5000)
    path = f"/webhooks/{webhook['webhook_id']}"
    assert (await stranger.get("/webhooks")).json() == {"webhooks": [], "total": 0}
    assert (await stranger.get(path)).status_code == 404
    assert (await stranger.get(path + "/deliveries")).status_code == 404
    assert (await stranger.post(path + "/rotate-secret")).status_code == 404
    assert (await stranger.http.delete("/api/app" + path)).status_code == 404
    execution_id = await caller.started(ECHO, wait_ms=5000)
    got = await receiver.wait_for(1)
    assert [one.json["data"]["execution_id"] for one in got] == [execution_id]
    delivery = (await delivered(caller, webhook, 1))[0]["delivery_id"]
    assert (await stranger.post(f"/webhooks/deliveries/{delivery}/redeliver")).status_code == 404


async def test_a_private_execution_is_told_to_its_owner_only(caller: Any, make_caller: Any, receiver: Receiver) -> None:
    colleague = await make_caller(caller.tenant_id, subject="colleague")
    await subscribed(colleague, receiver.url)
    await subscribed(caller, receiver.url + "/mine")
    workflow_id = await caller.stored({**ECHO, "visibility": "private"})
    await caller.post(f"/workflows/{workflow_id}/execute", {"wait_ms": 5000})
    await caller.started({**ECHO, "visibility": "tenant"}, wait_ms=5000)
    got = await receiver.wait_for(3)
    private = [one.path for one in got if one.json["data"]["workflow_id"] == workflow_id]
    assert private == ["/hook/mine"]


async def test_all_attempts_have_one_id_and_body_and_a_time_of_their_own(
    caller: Any, receiver: Receiver, rows: Any
) -> None:
    """J5."""
    receiver.answers = [web.Response(status=500), web.Response(status=302, headers={"location": "/x"})]
    webhook = await subscribed(caller, receiver.url)
    await caller.started(ECHO, wait_ms=5000)
    await delivered(caller, webhook, 1, "pending")
    await asyncio.sleep(1.1)  # the timestamp of a message is whole seconds
    await let_it_be_due(rows, webhook)
    await receiver.wait_for(2)
    await delivered(caller, webhook, 1, "pending")

    async def has_failed_twice() -> bool:
        return len((await delivered(caller, webhook, 1))[0]["attempts"]) == 2

    await until(has_failed_twice, "the second failure in the log")
    await let_it_be_due(rows, webhook)
    got = await receiver.wait_for(3)
    assert len({one.headers["webhook-id"] for one in got}) == 1
    assert len({one.body for one in got}) == 1
    assert got[0].headers["webhook-timestamp"] < got[1].headers["webhook-timestamp"]
    assert [one.path for one in got] == ["/hook"] * 3, "a redirect is a failure, and nobody follows it"
    for one in got:
        Outside(webhook["secret"]).verify(one.body, one.headers)
    log = (await delivered(caller, webhook, 1, "delivered"))[0]
    assert [one["status"] for one in log["attempts"]] == [500, 302, 204]


async def test_the_next_attempt_waits_as_the_receiver_asks(caller: Any, receiver: Receiver, rows: Any) -> None:
    """J5."""
    receiver.answers = [web.Response(status=429, headers={"retry-after": "7200"})]
    webhook = await subscribed(caller, receiver.url)
    await caller.started(ECHO, wait_ms=5000)
    await delivered(caller, webhook, 1, "pending")
    left = await rows.fetchval(
        "select extract(epoch from due_at - now()) from interlock.deliveries where webhook_id = $1",
        UUID(webhook["webhook_id"]),
    )
    assert 7_000 < left <= 7_200


async def test_administrators_find_in_the_audit_log_which_webhook_was_turned_off(
    caller: Any, make_caller: Any, receiver: Receiver, house: Any
) -> None:
    receiver.status = 410
    admin = await make_caller(caller.tenant_id, subject="root", scopes=sorted(Scope))
    webhook = await subscribed(caller, receiver.url)
    before = house.telemetry.expose()
    for _ in range(2):
        await caller.started(ECHO, wait_ms=5000)
    await delivered(caller, webhook, 1, "failed")

    async def noted() -> list[dict[str, Any]]:
        await house.services.access.audit.flush()
        answer = await admin.get(f"/audit?target={webhook['webhook_id']}&action=WEBHOOK")
        assert answer.status_code == 200, answer.text
        return list(answer.json()["entries"])

    found = await until(noted, "the entry")
    assert [(one["action"], one["code"]) for one in found] == [("WEBHOOK DISABLED", "WEBHOOK_GONE")]
    counted = b'interlock_webhook_deliveries_total{direction="out",result="failed"}'
    assert [line for line in house.telemetry.expose().splitlines() if line.startswith(counted)] != [
        line for line in before.splitlines() if line.startswith(counted)
    ]


async def test_410_turns_a_webhook_off_until_somebody_turns_it_on(caller: Any, receiver: Receiver) -> None:
    """J5."""
    receiver.status = 410
    webhook = await subscribed(caller, receiver.url)
    path = f"/webhooks/{webhook['webhook_id']}"
    await caller.started(ECHO, wait_ms=5000)
    await delivered(caller, webhook, 1, "failed")
    found = (await caller.get(path)).json()
    assert (found["is_active"], found["disabled_reason"]) == (False, "gone")
    await caller.started(ECHO, wait_ms=5000)
    receiver.status = 204
    switched = await caller.http.patch("/api/app" + path, json={"is_active": True})
    assert (switched.json()["is_active"], switched.json()["disabled_reason"]) == (True, None)
    last = await caller.started(ECHO, wait_ms=5000)
    got = await receiver.wait_for(2)
    assert [one.json["data"]["execution_id"] for one in got[1:]] == [last], "what happened while it was off is not told"


async def test_a_message_that_never_arrives_is_given_up_and_its_webhook_turned_off(
    caller: Any, receiver: Receiver, rows: Any
) -> None:
    receiver.status = 500
    webhook = await subscribed(caller, receiver.url)
    await caller.started(ECHO, wait_ms=5000)
    await delivered(caller, webhook, 1, "pending")
    await rows.execute(
        "update interlock.deliveries set failures = 10 where webhook_id = $1", UUID(webhook["webhook_id"])
    )
    await let_it_be_due(rows, webhook)
    await delivered(caller, webhook, 1, "failed")
    found = (await caller.get(f"/webhooks/{webhook['webhook_id']}")).json()
    assert (found["is_active"], found["disabled_reason"]) == (False, "failing")


async def test_one_bad_endpoint_delays_no_other(caller: Any, receiver: Receiver) -> None:
    """J5."""
    async with receiving() as bad:
        never = asyncio.Event()

        async def hang(_: object) -> web.Response:
            await never.wait()
            return web.Response()

        bad.handler = hang
        for _ in range(3):
            await subscribed(caller, bad.url)
        good = await subscribed(caller, receiver.url)
        for _ in range(10):
            await caller.started(ECHO, wait_ms=5000)
        await bad.wait_for(3)
        assert len(await receiver.wait_for(10)) == 10
        log = await delivered(caller, good, 10, "delivered")
        assert all(len(one["attempts"]) == 1 for one in log)
        never.set()


async def test_a_relay_that_dies_between_the_call_and_its_record_calls_again_under_the_same_id(
    caller: Any, receiver: Receiver, rows: Any
) -> None:
    """J5."""
    webhook = await subscribed(caller, receiver.url)
    failpoints.arm("relay.after_call=raise")
    try:
        await caller.started(ECHO, wait_ms=5000)
        await receiver.wait_for(1)

        async def is_claimed() -> bool:
            found = await rows.fetch(
                "select log, attempts, due_at > now() as leased from interlock.deliveries where webhook_id = $1",
                UUID(webhook["webhook_id"]),
            )
            return [(row["log"], row["attempts"], row["leased"]) for row in found] == [("[]", 1, True)]

        await until(is_claimed, "the lease of a delivery nobody wrote down")
    finally:
        failpoints.arm("")
    await let_it_be_due(rows, webhook)
    got = await receiver.wait_for(2)
    assert got[0].headers["webhook-id"] == got[1].headers["webhook-id"]
    assert got[0].body == got[1].body
    log = (await delivered(caller, webhook, 1, "delivered"))[0]
    assert [one["attempt"] for one in log["attempts"]] == [2]


async def test_while_a_secret_is_replaced_messages_carry_both_signatures(caller: Any, receiver: Receiver) -> None:
    """J5."""
    webhook = await subscribed(caller, receiver.url)
    rotated = await caller.post(f"/webhooks/{webhook['webhook_id']}/rotate-secret")
    assert rotated.json()["secret"] != webhook["secret"]
    await caller.started(ECHO, wait_ms=5000)
    got = (await receiver.wait_for(1))[0]
    for secret in (webhook["secret"], rotated.json()["secret"]):
        Outside(secret).verify(got.body, got.headers)
    assert len(got.headers["webhook-signature"].split(" ")) == 2


async def test_a_message_can_be_sent_again_by_hand(caller: Any, receiver: Receiver) -> None:
    webhook = await subscribed(caller, receiver.url)
    await caller.started(ECHO, wait_ms=5000)
    first = (await delivered(caller, webhook, 1, "delivered"))[0]
    again = await caller.post(f"/webhooks/deliveries/{first['delivery_id']}/redeliver")
    assert again.status_code == 202
    assert again.json()["redelivery_of"] == first["delivery_id"]
    got = await receiver.wait_for(2)
    assert got[0].body == got[1].body
    assert got[1].headers["webhook-id"] == again.json()["message_id"] != first["message_id"]


async def test_a_blocked_address_fails_at_once_and_says_why(caller: Any, rows: Any) -> None:
    """J1."""
    webhook = await subscribed(caller, "http://example.com/x")
    statement = "update interlock.webhooks set url = 'http://169.254.169.254/x' where webhook_id = $1"
    await rows.execute(statement, UUID(webhook["webhook_id"]))
    await caller.started(ECHO, wait_ms=5000)
    log = (await delivered(caller, webhook, 1, "failed"))[0]
    assert [(one["status"], one["error"]) for one in log["attempts"]] == [(None, "EGRESS_BLOCKED")]


async def test_a_hostile_receiver_costs_no_more_than_its_call(caller: Any, receiver: Receiver) -> None:
    """J4."""

    async def flood(_: object) -> web.Response:
        return web.Response(body=b"x" * 5_000_000)

    receiver.handler = flood
    webhook = await subscribed(caller, receiver.url)
    await caller.started(ECHO, wait_ms=5000)
    log = (await delivered(caller, webhook, 1, "delivered"))[0]
    assert log["attempts"][0]["status"] == 200


async def test_a_deleted_webhook_is_gone_with_its_secret_and_its_deliveries(
    caller: Any, receiver: Receiver, rows: Any
) -> None:
    webhook = await subscribed(caller, receiver.url)
    await caller.started(ECHO, wait_ms=5000)
    await delivered(caller, webhook, 1, "delivered")
    path = f"/webhooks/{webhook['webhook_id']}"
    assert (await caller.http.delete("/api/app" + path)).status_code == 200
    assert (await caller.get(path)).status_code == 404
    webhook_id = UUID(webhook["webhook_id"])
    assert await rows.fetchval("select count(*) from interlock.deliveries where webhook_id = $1", webhook_id) == 0
    owner = f"webhook/{webhook_id}"
    assert await rows.fetchval("select count(*) from interlock.webhook_secrets where owner = $1", owner) == 0


async def test_a_secret_is_shown_once_and_stored_sealed(caller: Any, rows: Any) -> None:
    """H5."""
    secret = "whsec_" + "Q2FuYXJ5" * 4
    webhook = await subscribed(caller, "https://example.com/hook", secret=secret)
    assert webhook["secret"] == secret
    for answer in (await caller.get("/webhooks"), await caller.get(f"/webhooks/{webhook['webhook_id']}")):
        assert "whsec_" not in answer.text
    owner = f"webhook/{webhook['webhook_id']}"
    sealed = await rows.fetchval("select sealed from interlock.webhook_secrets where owner = $1", owner)
    assert secret.encode() not in sealed
    assert b"Q2FuYXJ5" not in sealed


@pytest.mark.parametrize(
    "body",
    [
        {"url": "ftp://example.com", "events": ["*"]},
        {"url": "http://user:pass@example.com", "events": ["*"]},
        {"url": "http://", "events": ["*"]},
        {"url": "https://example.com/a b", "events": ["*"]},
        {"url": "https://example.com", "events": []},
        {"url": "https://example.com", "events": ["execution.exploded"]},
        {"url": "https://example.com", "events": ["exec*"]},
        {"url": "https://example.com", "events": ["*"], "secret": "whsec_short"},
        {"url": "https://example.com", "events": ["*"], "api_key": "x"},
    ],
)
async def test_what_cannot_be_subscribed_to_is_refused(caller: Any, body: dict[str, Any]) -> None:
    answer = await caller.post("/webhooks", body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error_code"] == "VALIDATION_ERROR"


async def test_somebody_without_the_scopes_can_do_nothing(caller: Any, make_caller: Any) -> None:
    reader = await make_caller(caller.tenant_id, scopes=["deployments:read"])
    writer = await make_caller(caller.tenant_id, scopes=["deployments:write"])
    body = {"url": "https://example.com", "events": ["*"]}
    assert (await reader.post("/webhooks", body)).status_code == 403
    assert (await writer.post("/webhooks", body)).status_code == 403, (
        "who hears of executions must be allowed to read them"
    )
    assert (await writer.get("/webhooks")).status_code == 403


async def test_a_subscription_that_is_refused_leaves_no_secret(
    caller: Any, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def kept() -> int:
        statement = "select count(*) from interlock.webhook_secrets where tenant_id = $1 and owner like 'webhook/%'"
        return int(await rows.fetchval(statement, caller.tenant_id))

    body = {"url": "https://x.example", "events": ["execution.succeeded"]}
    unknown = {**body, "workflow_id": "01990000-0000-7000-8000-000000000001"}
    assert (await caller.post("/webhooks", unknown)).status_code == 404
    monkeypatch.setattr(subscribe, "MAX_WEBHOOKS", 1)
    assert (await caller.post("/webhooks", body)).status_code == 201
    refused = await caller.post("/webhooks", body)
    assert refused.status_code == 409 and "TOO_MANY_WEBHOOKS" in refused.text, refused.text
    assert await kept() == 1
