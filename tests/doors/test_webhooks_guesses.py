"""What guessing at callbacks brings: nothing, and no hint whether one was close (J6)."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime
from statistics import median
from typing import Any

import httpx2
import pytest

from interlock.backends.secrets.aes_gcm import AesGcmSecrets
from interlock.backends.secrets.given_keys import GivenKeys
from interlock.backends.store.postgres.connection import EnginePool
from interlock.backends.store.postgres.webhook_ledger import PostgresWebhooks
from interlock.backends.store.postgres.webhook_secrets import PostgresSigningSecrets
from interlock.core.webhook import sign
from interlock.kit.clock import SystemClock
from interlock.kit.ids import RandomIds
from interlock.ports.webhooks import of_node
from webhook_house import Receiver, call_back, receiving, start, token_of, waiting

DONE = {"step": "call", "result": {"ok": True}}
GUESSES = 1_000


@pytest.fixture
async def receiver() -> Any:
    async with receiving() as found:
        yield found


async def test_a_thousand_guessed_sessions_and_tokens_are_refused_alike(
    caller: Any, nobody: httpx2.AsyncClient, receiver: Receiver
) -> None:
    """J6: the answers differ in nothing but what was asked, and no clock tells a session that is there."""
    session_id = await start(caller, receiver.url)
    token = token_of((await receiver.wait_for(1))[0])
    await waiting(caller, session_id)
    place, _, proof = token.rpartition(".")
    assert len(base64.urlsafe_b64decode(proof + "=" * (-len(proof) % 4))) * 8 >= 128
    seen, waits = set(), {True: [], False: []}
    for number in range(GUESSES):
        is_there = number % 2 == 0
        guess = base64.urlsafe_b64encode(RandomIds().new().bytes * 2).decode().rstrip("=")
        began = time.perf_counter()
        answer = await call_back(
            nobody, session_id if is_there else str(RandomIds().new()), DONE, f"{place}.{guess[: len(proof)]}"
        )
        waits[is_there].append(time.perf_counter() - began)
        seen.add((answer.status_code, answer.json()["code"], answer.json()["message"]))
    assert len(seen) == 1
    assert seen.pop()[:2] == (401, "AUTHENTICATION_FAILED")
    differ = abs(median(waits[True]) - median(waits[False]))
    spread = [sorted(times)[len(times) * 3 // 4] - sorted(times)[len(times) // 4] for times in waits.values()]
    assert differ < max(*spread, 0.0005)
    assert (await call_back(nobody, session_id, DONE, token)).json()["status"] == "received"


async def test_a_deleted_node_proves_nothing_to_any_process_from_then_on(
    caller: Any, nobody: httpx2.AsyncClient, receiver: Receiver, database: Any
) -> None:
    """J6: what another process has looked up before is looked up again."""
    told = {"node_id": "small", "endpoint": receiver.url, "name": "Small"}
    secret = (await caller.http.post("/api/registry/nodes", json=told)).json()["callback_secret"]
    session_id = await start(caller, "webhook://small")
    await waiting(caller, session_id)
    pool = EnginePool(database.serve_url, 1)
    await pool.open()
    try:  # what a second process goes by
        seals = AesGcmSecrets(GivenKeys(["a key for tests, of 32 bytes or more"]))
        other = PostgresSigningSecrets(pool.use, seals, SystemClock())
        assert await other.good(caller.tenant_id, of_node("small")) == (secret,)
        assert await PostgresWebhooks(pool.use).is_registered(caller.tenant_id, "small")
        assert (await caller.http.delete("/api/registry/nodes/small")).status_code == 204
        assert not await PostgresWebhooks(pool.use).is_registered(caller.tenant_id, "small")
    finally:
        await pool.close()
    body = json.dumps(DONE).encode()
    late = await call_back(nobody, session_id, body, **sign([secret], "m-1", datetime.now(UTC), body))
    assert (late.status_code, late.json()["code"]) == (401, "AUTHENTICATION_FAILED")


async def test_a_callback_that_poses_as_an_upload_names_no_file(
    caller: Any, nobody: httpx2.AsyncClient, receiver: Receiver
) -> None:
    """J6: fields of an upload in a JSON body are nothing but unknown fields; they are not kept."""
    session_id = await start(caller, receiver.url)
    token = token_of((await receiver.wait_for(1))[0])
    await waiting(caller, session_id)
    file = {"filepath": "/etc/passwd", "originalFilename": "cAnArY.txt", "mimetype": "text/plain", "size": 10}
    answer = await call_back(nobody, session_id, {**DONE, "files": {"upload": file}, "binary": {"data": file}}, token)
    assert answer.json()["status"] == "received", answer.text
    told = await caller.http.get(f"/api/workflow/{session_id}/events")
    assert told.status_code == 200
    for text in (answer.text, told.text):
        assert "cAnArY" not in text
        assert "root:" not in text
