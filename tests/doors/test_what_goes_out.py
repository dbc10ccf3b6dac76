"""What others receive from us: exactly the listed headers and fields, and nothing of whoever asked for it (H3)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from model_gateway import HELLO, OURS, Gateway
from model_house import KEY
from webhook_house import Got, Receiver, receiving, start

TRANSPORT = {"host", "user-agent", "accept", "accept-encoding", "content-type", "content-length"}
SIGNED = {"webhook-id", "webhook-timestamp", "webhook-signature", "traceparent"}
OF_THE_CALLER = {"x-of-the-caller": "cAnArY", "cookie": "session=cAnArY", "x-request-id": "cAnArY-request"}


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as found:
        yield found


@pytest.fixture
def asking(caller: Any) -> Any:
    """A caller whose requests carry what is nobody else's business."""
    caller.http.headers.update(OF_THE_CALLER)
    return caller


def has_nothing_of(caller: Any, got: Got) -> bool:
    told = f"{got.path} {got.headers} {got.body!r}"
    return not any(word in told for word in ("cAnArY", caller.token, caller.subject))


async def test_a_message_of_a_subscription(asking: Any, receiver: Receiver) -> None:
    """H3."""
    await asking.post("/webhooks", {"url": receiver.url, "events": ["execution.succeeded"]})
    await asking.started({"nodes": [{"id": "a", "type": "echo", "parameters": {}}]}, wait_ms=5000)
    got = (await receiver.wait_for(1))[0]
    assert got.headers.keys() == TRANSPORT | SIGNED
    assert got.json.keys() == {"type", "timestamp", "data"}
    assert got.json["data"].keys() == {"execution_id", "workflow_id", "seq", "trace_id", "event"}
    assert asking.tenant_id.encode() not in got.body
    assert has_nothing_of(asking, got)


async def test_a_call_of_a_webhook_node(asking: Any, receiver: Receiver) -> None:
    """H3."""
    told = {"node_id": "n", "endpoint": receiver.url, "name": "N", "headers": {"X-Ours": "1"}}
    assert (await asking.http.post("/api/registry/nodes", json=told)).status_code == 200
    await start(asking, "webhook://n", params={"n": 1})
    got = (await receiver.wait_for(1))[0]
    assert got.headers.keys() == TRANSPORT | SIGNED | {"idempotency-key", "x-ours"}
    fields = "session_id step params payload callback_url callback_token tenant_id trace_id attempt deadline"
    assert got.json.keys() == set(fields.split())
    assert got.json["params"] == {"n": 1}
    assert has_nothing_of(asking, got)


async def test_a_call_of_http_request(asking: Any, receiver: Receiver) -> None:
    """H3."""
    receiver.answers = [web.Response(status=200)]
    call = {"url": receiver.url, "method": "POST", "headers": {"X-Ours": "1"}, "body": {"n": 1}}
    await asking.started({"nodes": [{"id": "a", "type": "http_request", "parameters": call}]}, wait_ms=5000)
    got = (await receiver.wait_for(1))[0]
    assert got.headers.keys() == TRANSPORT | {"idempotency-key", "x-ours"}
    assert got.json == {"n": 1}
    assert has_nothing_of(asking, got)


async def test_a_call_of_a_model(gateway: Gateway) -> None:
    """H3: the key is ours, and of the caller only what the model is asked."""
    asked = {"model": "mapped", "messages": HELLO, "user": "somebody", "metadata": {"word": "cAnArY"}}
    before = len(gateway.upstream.asked)
    answer = await gateway.http.post("/v1/chat/completions", json=asked, headers=OF_THE_CALLER)
    assert answer.status_code == 200, answer.text
    body, headers = gateway.upstream.asked[before], gateway.upstream.headers[before]
    names = {name.lower() for name in headers}
    assert names <= TRANSPORT | {"authorization", "idempotency-key"}, names
    assert headers["Authorization"] == f"Bearer {OURS}"
    assert KEY not in str(headers) + str(body)
    assert "cAnArY" not in str(headers)
    assert body["messages"] == HELLO
    assert "tenant" not in str(body)
