"""Whoever calls back proves it: by the token of the attempt, a signature, or who they are. Nothing else opens."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from standardwebhooks import Webhook as Outside

from conftest import Tenant
from interlock.core.webhook import sign
from webhook_house import Receiver, call_back, receiving, start, token_of, waiting


@pytest.fixture
async def receiver() -> Any:
    async with receiving() as found:
        yield found


DONE = {"step": "call", "result": {"ok": True}}


async def test_a_registered_node_proves_its_callback_by_its_signature(
    caller: Any, nobody: httpx2.AsyncClient, receiver: Receiver
) -> None:
    """J6."""
    told = {"node_id": "small", "endpoint": receiver.url, "name": "Small"}
    registered = await caller.http.post("/api/registry/nodes", json=told)
    assert registered.status_code == 200, registered.text
    secret = registered.json()["callback_secret"]
    session_id = await start(caller, "webhook://small")
    got = (await receiver.wait_for(1))[0]
    Outside(secret).verify(got.body, got.headers)
    await waiting(caller, session_id)
    body, now = json.dumps(DONE).encode(), datetime.now(UTC)

    async def signed(content: bytes, headers: dict[str, str]) -> httpx2.Response:
        return await call_back(nobody, session_id, content, **headers)

    for headers, content in (
        (sign(["whsec_" + "B" * 32], "m-1", now, body), body),
        (sign([secret], "m-1", now - timedelta(seconds=301), body), body),
        (sign([secret], "m-1", now + timedelta(seconds=301), body), body),
        (sign([secret], "m-1", now, body), body + b" "),
    ):
        refused = await signed(content, headers)
        assert (refused.status_code, refused.json()["code"]) == (401, "AUTHENTICATION_FAILED")
    good = sign([secret], "m-1", now, body)
    assert (await signed(body, good)).json()["status"] == "received"
    assert (await signed(body, good)).json()["status"] == "duplicate", "a replay has no second effect"


async def test_a_caller_with_the_scope_may_call_back_and_another_tenant_sees_nothing(
    caller: Any, make_caller: Any, receiver: Receiver
) -> None:
    session_id = await start(caller, receiver.url)
    await receiver.wait_for(1)
    await waiting(caller, session_id)
    stranger = await make_caller()
    foreign = await call_back(stranger.http, session_id, DONE)
    assert (foreign.status_code, foreign.json()["code"]) == (404, "SESSION_NOT_FOUND")
    reader = await make_caller(caller.tenant_id, scopes=["executions:read"])
    assert (await call_back(reader.http, session_id, DONE)).status_code == 403
    unknown = await call_back(caller.http, session_id, {"step": "nowhere", "result": 1})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "STEP_NOT_FOUND")
    assert (await call_back(caller.http, session_id, DONE)).json()["status"] == "received"


async def test_whoever_names_a_tenant_in_local_mode_may_call_back(
    caller: Any, nobody: httpx2.AsyncClient, receiver: Receiver, new_tenant: Any
) -> None:
    session_id = await start(caller, receiver.url)
    await receiver.wait_for(1)
    await waiting(caller, session_id)
    other: Tenant = new_tenant()
    foreign = await call_back(nobody, session_id, DONE, **{"x-tenant-id": other.tenant_id})
    assert foreign.status_code == 404
    own = await call_back(nobody, session_id, DONE, **{"x-tenant-id": caller.tenant_id})
    assert own.json()["status"] == "received"


async def test_no_change_of_a_token_opens_anything(caller: Any, nobody: httpx2.AsyncClient, receiver: Receiver) -> None:
    """J6."""
    session_id = await start(caller, receiver.url)
    token = token_of((await receiver.wait_for(1))[0])
    await waiting(caller, session_id)
    changed = {token[:place] + letter + token[place + 1 :] for place in range(len(token)) for letter in "A9"} - {token}
    answers = {(await call_back(nobody, session_id, DONE, guess)).status_code for guess in changed}
    assert (len(changed) >= len(token), answers) == (True, {401})
    assert (await call_back(nobody, session_id, DONE, token)).json()["status"] == "received"


async def test_guessed_and_borrowed_tokens_are_refused_alike(
    caller: Any, make_caller: Any, nobody: httpx2.AsyncClient, receiver: Receiver
) -> None:
    """J6."""
    mine = await start(caller, receiver.url)
    other = await make_caller()
    theirs = await start(other, receiver.url)
    tokens = {got.json["session_id"]: token_of(got) for got in await receiver.wait_for(2)}
    unknown = "01990000-0000-7000-8000-000000000001"
    for session_id, token in (
        (mine, tokens[theirs]),
        (mine, "guess"),
        (mine, tokens[mine][:-2] + "AA"),
        (unknown, tokens[mine]),
        ("no-id", tokens[mine]),
    ):
        answer = await call_back(nobody, session_id, DONE, token)
        assert (answer.status_code, answer.json()["code"]) == (401, "AUTHENTICATION_FAILED"), session_id
    other_step = await call_back(nobody, mine, {"step": "end", "result": 1}, tokens[mine])
    assert other_step.status_code == 401


async def test_a_callback_may_repeat_its_tenant_and_never_change_it(
    caller: Any, nobody: httpx2.AsyncClient, receiver: Receiver
) -> None:
    session_id = await start(caller, receiver.url)
    got = (await receiver.wait_for(1))[0]
    await waiting(caller, session_id)
    token = token_of(got)
    other = await call_back(nobody, session_id, {**DONE, "tenant_id": "another"}, token)
    assert (other.status_code, other.json()["code"]) == (403, "TENANT_MISMATCH")
    guessed = await call_back(nobody, session_id, {**DONE, "tenant_id": caller.tenant_id}, "guess")
    assert guessed.status_code == 401, "whose it is says nobody without a proof"
    same = await call_back(nobody, session_id, {**DONE, "tenant_id": got.json["tenant_id"]}, token)
    assert (same.status_code, same.json()["status"]) == (200, "received"), same.text


async def test_a_signed_callback_is_of_no_use_in_another_session(
    caller: Any, nobody: httpx2.AsyncClient, receiver: Receiver
) -> None:
    """J6."""
    told = {"node_id": "small", "endpoint": receiver.url, "name": "Small"}
    secret = (await caller.http.post("/api/registry/nodes", json=told)).json()["callback_secret"]
    mine, other = [await start(caller, "webhook://small") for _ in range(2)]
    for session_id in (mine, other):
        await waiting(caller, session_id)
    body = json.dumps(DONE).encode()
    signed = sign([secret], "m-1", datetime.now(UTC), body)
    assert (await call_back(nobody, mine, body, **signed)).json()["status"] == "received"
    replayed = await call_back(nobody, other, body, **signed)
    assert (replayed.status_code, replayed.json()["code"]) == (401, "AUTHENTICATION_FAILED")
    assert (await call_back(nobody, mine, body, **signed)).json()["status"] == "duplicate"
    own = sign([secret], "m-2", datetime.now(UTC), body)
    assert (await call_back(nobody, other, body, **own)).json()["status"] == "received"
    long = sign([secret], "m" * 256, datetime.now(UTC), body)
    assert (await call_back(nobody, other, body, **long)).status_code == 401


async def test_a_message_id_of_one_tenant_means_nothing_to_another(
    caller: Any, make_caller: Any, nobody: httpx2.AsyncClient, receiver: Receiver
) -> None:
    told = {"node_id": "small", "endpoint": receiver.url, "name": "Small"}
    body = json.dumps(DONE).encode()
    for one in (caller, await make_caller()):
        secret = (await one.http.post("/api/registry/nodes", json=told)).json()["callback_secret"]
        session_id = await start(one, "webhook://small")
        await waiting(one, session_id)
        signed = sign([secret], "m-1", datetime.now(UTC), body)
        assert (await call_back(nobody, session_id, body, **signed)).json()["status"] == "received"
