"""Idempotency-Key on what is not an execution: the same request again has the same answer, and one effect."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from interlock.core.principal import Scope
from interlock.doors.http.app_factory import all_operations
from interlock.doors.http.plumbing.operation import Operation
from interlock.kit.ids import RandomIds

WITHOUT_KEY = {
    "POST /api/app/workflows/validate": "changes nothing",
    "POST /cancel_run": "a run that is over answers as at first",
    "POST /get_head_ray_port": "changes nothing",
    "POST /auth/v1/logout": "ends the credential it comes with, so that it cannot come again",
}
"""Operations with POST that take no key, and why."""
BODY = {"client_name": "ci", "scopes": ["executions:read"]}


@pytest.fixture
async def admin(make_caller: Any) -> Any:
    return await make_caller(scopes=frozenset(Scope))


def keyed(key: str) -> dict[str, str]:
    return {"idempotency-key": key}


def name_of(operation: Operation) -> str:
    return f"{operation.method} {operation.route}"


def test_every_operation_that_creates_or_changes_something_by_post_takes_a_key() -> None:
    posts = {name_of(one): one.takes_key for one in all_operations(lambda: b"") if one.method == "POST"}
    assert {name for name, takes in posts.items() if not takes} == set(WITHOUT_KEY)


async def test_a_key_that_was_made_is_not_made_again_and_its_answer_is_the_same(admin: Any) -> None:
    first, again = [await admin.post("/api-keys", BODY, headers=keyed("k-1")) for _ in range(2)]
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert "idempotency-replayed" not in first.headers
    assert (again.headers["idempotency-replayed"], again.headers["cache-control"]) == ("true", "no-store")
    assert (await admin.get("/api-keys")).json()["total_count"] == 1


async def test_two_keys_in_one_request_are_none(admin: Any) -> None:
    twice = [("authorization", admin.http.headers["authorization"]), *(("idempotency-key", key) for key in ("k", "l"))]
    refused = await admin.http.post("/api/app/api-keys", json=BODY, headers=twice)
    assert (refused.status_code, refused.json()["error_code"]) == (400, "INVALID_REQUEST")
    assert "stands there twice" in refused.text
    alike = [*twice[:2], twice[1]]
    assert (await admin.http.post("/api/app/api-keys", json=BODY, headers=alike)).status_code == 201


async def test_fifty_at_once_have_one_effect_and_are_told_so_or_to_wait(admin: Any) -> None:
    answers = await asyncio.gather(*(admin.post("/api-keys", BODY, headers=keyed("k-2")) for _ in range(50)))
    made = {answer.text for answer in answers if answer.status_code == 201}
    waiting = [answer for answer in answers if answer.status_code != 201]
    assert len(made) == 1
    assert {(one.status_code, one.json()["error_code"]) for one in waiting} <= {(409, "IDEMPOTENCY_IN_PROGRESS")}
    assert all("retry-after" in one.headers for one in waiting)
    assert (await admin.get("/api-keys")).json()["total_count"] == 1


async def test_another_body_under_the_key_is_refused(admin: Any) -> None:
    await admin.post("/api-keys", BODY, headers=keyed("k-3"))
    other = await admin.post("/api-keys", {**BODY, "client_name": "other"}, headers=keyed("k-3"))
    assert (other.status_code, other.json()["error_code"]) == (422, "IDEMPOTENCY_MISMATCH")


async def test_another_route_caller_or_tenant_has_keys_of_its_own(admin: Any, make_caller: Any) -> None:
    colleague = await make_caller(admin.tenant_id, subject="colleague", scopes=frozenset(Scope))
    stranger = await make_caller(scopes=frozenset(Scope))
    answers = [await one.post("/api-keys", BODY, headers=keyed("k-4")) for one in (admin, colleague, stranger)]
    first = answers[0].json()
    answers.append(await admin.post(f"/api-keys/{first['id']}/rotate", {}, headers=keyed("k-4")))
    assert [answer.status_code for answer in answers] == [201] * 4
    assert len({answer.json()["key"] for answer in answers}) == 4


async def test_a_refused_request_leaves_its_key_free(admin: Any) -> None:
    path = f"/api-keys/{RandomIds().new()}/rotate"
    assert [(await admin.post(path, {}, headers=keyed("k-5"))).status_code for _ in range(2)] == [404, 404]
    wrong = {**BODY, "scopes": ["nothing:real"]}
    assert (await admin.post("/api-keys", wrong, headers=keyed("k-6"))).status_code == 400
    assert (await admin.post("/api-keys", BODY, headers=keyed("k-6"))).status_code == 201


async def test_a_cancellation_is_answered_the_same_again(admin: Any) -> None:
    execution_id = await admin.started(
        {"nodes": [{"id": "w", "type": "wait", "parameters": {"seconds": 3600}}], "connections": []}
    )
    path = f"/executions/{execution_id}/cancel"
    first, again = [await admin.post(path, {"reason": "r"}, headers=keyed("k-7")) for _ in range(2)]
    assert (first.status_code, again.content) == (200, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert (await admin.post(path, {"reason": "other"}, headers=keyed("k-7"))).status_code == 422


async def test_what_is_kept_shows_no_secret_to_who_reads_the_database(admin: Any, database: Any) -> None:
    wishes = {**BODY, "signing": True}
    issued = (await admin.post("/api-keys", wishes, headers=keyed("k-8"))).json()
    await admin.post("/webhooks", {"url": "https://svc.example/hook", "events": ["execution.*"]}, headers=keyed("k-9"))
    connection = await asyncpg.connect(database.superuser_url)
    rows = await connection.fetch("select body, status from interlock.answers where tenant_id = $1", admin.tenant_id)
    await connection.close()
    assert {row["status"] for row in rows} == {201}
    kept = b"".join(row["body"] for row in rows)
    for secret in (issued["key"], issued["signing_secret"], issued["public_id"], "whsec_"):
        assert secret.encode() not in kept


async def test_a_claim_whose_process_died_says_that_its_outcome_is_unknown(admin: Any, database: Any) -> None:
    await admin.post("/api-keys", BODY, headers=keyed("k-10"))
    await change(database, admin.tenant_id, "status = null, body = null, claimed_at = interlock.now()")
    answer = await admin.post("/api-keys", BODY, headers=keyed("k-10"))
    assert (answer.status_code, answer.json()["error_code"]) == (409, "IDEMPOTENCY_IN_PROGRESS")
    await change(database, admin.tenant_id, "claimed_at = interlock.now() - interval '61 seconds'")
    answer = await admin.post("/api-keys", BODY, headers=keyed("k-10"))
    assert (answer.status_code, answer.json()["error_code"]) == (409, "OUTCOME_UNKNOWN")


async def test_a_key_is_free_again_after_a_day(admin: Any, database: Any, house: Any) -> None:
    first = await admin.post("/api-keys", BODY, headers=keyed("k-11"))
    await change(database, admin.tenant_id, "expires_at = interlock.now()")
    second = await admin.post("/api-keys", BODY, headers=keyed("k-11"))
    assert first.json()["key"] != second.json()["key"]


async def change(database: Any, tenant_id: str, assignments: str) -> None:
    connection = await asyncpg.connect(database.superuser_url)
    await connection.execute(f"update interlock.answers set {assignments} where tenant_id = $1", tenant_id)
    await connection.close()
