"""What every answer has, whoever gives it: ids and words of a problem, and nothing said in the wrong order."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import structlog
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from doors.socket_house import SOON, Port, served
from interlock.core.principal import Scope
from interlock.doors.http.app_factory import build_app
from interlock.doors.http.plumbing.guesses import MOST
from interlock.kit.ids import RandomIds

BASE = "http://127.0.0.1:8000"
OWN = ("x-request-id", "x-trace-id", "traceparent", "x-process-time")
PROBLEM = "application/problem+json"


@pytest.fixture
async def production(house: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """A client without a credential of a server outside local mode."""
    transport = httpx2.ASGITransport(app=house.app(is_local=False))
    async with httpx2.AsyncClient(transport=transport, base_url=BASE) as client:
        yield client


@pytest.fixture
async def port(house: Any) -> AsyncIterator[Port]:
    async with served(house.context(is_local=False)) as found:
        yield found


async def spoken(port: Port, sent: bytes) -> tuple[int, dict[str, str], Any]:
    """Status, headers and body of what comes back for some bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port.number)
    writer.write(sent)
    async with asyncio.timeout(SOON):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(first.split()[1]), {name.lower(): value for name, value in headers.items()}, json.loads(body)


# Words of a problem ---------------------------------------------------------------------------------------------


async def test_a_problem_says_where_and_in_words_what(production: httpx2.AsyncClient) -> None:
    answer = await production.get("/api/invalid/end point", headers={"x-trace-id": "t-1"})
    assert (answer.status_code, answer.headers["content-type"]) == (404, PROBLEM)
    told = answer.json()
    assert (told["type"], told["title"], told["status"]) == ("about:blank", "Not Found", 404)
    assert (told["instance"], told["trace_id"]) == ("/api/invalid/end%20point", "t-1")
    refused = (await production.get("/metrics")).json()
    assert (refused["title"], refused["code"]) == ("Unauthorized", "AUTHENTICATION_FAILED")


async def test_no_room_and_a_used_up_quota_have_their_registered_types(house: Any, make_caller: Any) -> None:
    app = house.app(is_local=False)
    wrong = {"x-api-key": "il_local_" + "x" * 40}
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url=BASE) as client:
        for _ in range(MOST):
            await client.get("/metrics", headers=wrong)
        told = (await client.get("/metrics", headers=wrong)).json()
    assert told["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert told["violated-policies"] == ["wrong-keys-minute"]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /live HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /live HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", 431),
        (b"FOO /nothing/here HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        (b"FOO /live?x=1 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    ],
)
async def test_what_never_became_a_request_is_answered_like_one(port: Port, sent: bytes, status: int) -> None:
    found, headers, body = await spoken(port, sent)
    assert (found, headers["content-type"], body["status"]) == (status, PROBLEM, status)
    assert set(OWN) <= headers.keys()
    assert (headers["connection"], headers["x-trace-id"]) == ("close", body["trace_id"])
    assert headers.get("allow") == ("GET, HEAD, OPTIONS" if status == 405 else None)


async def test_the_ids_of_what_was_cut_off_are_its_own(port: Port) -> None:
    sent = b"GET /live HTTP/1.1\r\nHost: a\r\nX-Request-Id: r-1\r\nX-Trace-Id: t-1\r\nHost: b\r\n\r\n"
    _, headers, body = await spoken(port, sent)
    assert (headers["x-request-id"], headers["x-trace-id"], body["trace_id"]) == ("r-1", "t-1", "t-1")


async def test_who_waits_when_the_time_of_a_stopping_server_is_over_is_told_so_by_the_door(
    house: Any, caller: Any
) -> None:
    context, sent, is_reading = house.context(), [], asyncio.Event()

    async def receive() -> dict[str, Any]:
        is_reading.set()
        await asyncio.Event().wait()
        return {}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/app/workflows",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1"), (b"authorization", f"Bearer {caller.token}".encode())],
        "client": ("127.0.0.1", 1),
    }
    waiting = asyncio.ensure_future(build_app(context, house.telemetry.expose)(scope, receive, send))
    async with asyncio.timeout(SOON):
        await is_reading.wait()
    context.drain.begin()
    waiting.cancel()
    await asyncio.wait({waiting}, timeout=SOON)
    start, body = sent
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    assert (start["status"], headers["retry-after"], headers["connection"]) == (503, "1", "close")
    assert set(OWN) <= headers.keys()
    told = json.loads(body["body"])
    assert (told["error"], told["error_code"]) == ("service_unavailable", "SERVICE_UNAVAILABLE")


# Sockets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "origin", "status"), [("/ws/zzz", None, 404), ("/ws/events/x", "https://e.vil", 403)])
async def test_a_handshake_that_is_refused_is_answered_in_full_and_is_no_error_of_ours(
    port: Port, path: str, origin: str | None, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"origin": origin} if origin is not None else {}
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"ws://127.0.0.1:{port.number}{path}", additional_headers=headers)
    response = refused.value.response
    assert (response.status_code, response.headers["content-type"]) == (status, PROBLEM)
    assert all(name in response.headers for name in OWN)
    assert response.body is not None
    assert json.loads(response.body)["status"] == status
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_socket_has_a_line_in_the_log_and_ids_in_its_handshake(house: Any, caller: Any) -> None:
    with structlog.testing.capture_logs() as lines:
        async with served(house.context(is_local=False)) as port:
            session_id = RandomIds().new().hex
            connection = await port.socket(session_id, token=caller.token)
            assert connection.response is not None
            assert all(name in connection.response.headers for name in OWN)
            await connection.wait_closed()
    (line,) = [one for one in lines if one["event"] == "request.completed"]
    assert (line["route"], line["status"]) == ("/ws/events/{session_id}", 404)
    assert (line["principal_id"], line["tenant_id"]) == (caller.subject, caller.tenant_id)
    assert line["trace_id"] == connection.response.headers["x-trace-id"]
    assert session_id not in str(line)


# Order ----------------------------------------------------------------------------------------------------------


async def test_who_signs_with_a_key_that_is_none_is_told_before_the_body_is_read(house: Any) -> None:
    sent: list[dict[str, Any]] = []
    asked = 0

    async def receive() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        return {"type": "http.request", "body": b"x" * 1000, "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/chat/completions",
        "query_string": b"",
        "headers": [
            (b"host", b"h"),
            (b"content-type", b"text/plain"),
            (b"x-api-key-id", b"nobody000000"),
            (b"x-api-timestamp", b"%d" % house.clock.now().timestamp()),
            (b"x-api-nonce", b"n" * 20),
            (b"x-api-signature", b"v1=" + b"A" * 43 + b"="),
        ],
        "client": ("192.0.2.77", 1),
    }
    app = house.app(is_local=False)
    await app(scope, receive, send)
    assert (sent[0]["status"], asked) == (401, 0)


async def test_a_signature_that_holds_opens_what_is_not_json_no_further(house: Any, make_caller: Any) -> None:
    admin = await make_caller(scopes=frozenset(Scope))
    key = (await admin.post("/api-keys", {"client_name": "s", "scopes": ["models:use"], "signing": True})).json()
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=house.app(is_local=False)), base_url=BASE
    ) as client:
        headers = {
            "x-api-key-id": key["public_id"],
            "x-api-timestamp": str(int(house.clock.now().timestamp())),
            "x-api-nonce": RandomIds().new().hex[:20],
            "x-api-signature": "v1=" + "A" * 43 + "=",
            "content-type": "text/plain",
        }
        answer = await client.post("/v1/chat/completions", content=b"hello", headers=headers)
    assert answer.status_code == 401


# Limits, caches, pages ------------------------------------------------------------------------------------------


async def test_what_a_handler_cannot_do_counts_all_the_same(production: httpx2.AsyncClient, make_caller: Any) -> None:
    admin = await make_caller(scopes=frozenset(Scope))
    key = (await admin.post("/api-keys", {"client_name": "n", "scopes": ["models:use"]})).json()["key"]
    body = {"model": "none", "messages": [{"role": "user", "content": "hi"}]}
    left = []
    for _ in range(3):
        answer = await production.post("/v1/chat/completions", json=body, headers={"x-api-key": key})
        assert answer.status_code == 503
        left.append(int(answer.headers["x-ratelimit-remaining"]))
    assert left == [left[0], left[0] - 1, left[0] - 2]


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
async def test_what_caches_keep_varies_with_the_page(house: Any, path: str) -> None:
    app = house.app(is_local=False, allowed_origins=frozenset({"https://studio.example"}))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url=BASE) as client:
        for headers in ({}, {"origin": "https://studio.example"}, {"origin": "https://e.vil"}):
            answer = await client.get(path, headers=headers)
            assert answer.headers.get_list("vary") == ["Origin"], headers


async def test_all_pages_may_read_where_all_were_let_in_and_none_brings_cookies(house: Any) -> None:
    app = house.app(is_local=False, allowed_origins=frozenset({"*"}))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url=BASE) as client:
        answer = await client.get("/version", headers={"origin": "https://any.example"})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers
    cookies = house.app(is_local=False, allowed_origins=frozenset({"https://a.example"}), allows_cookies=True)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=cookies), base_url=BASE) as client:
        answer = await client.get("/version", headers={"origin": "https://a.example"})
    assert answer.headers["access-control-allow-credentials"] == "true"


@pytest.mark.parametrize("since", ["1000000000", "2147483648", "999999999999", "-1", "x"])
async def test_a_stream_resumes_after_a_number_that_an_event_can_have(caller: Any, since: str) -> None:
    execution_id = await caller.started({"nodes": [{"id": "a", "type": "echo"}]}, wait_ms=5_000)
    answer = await caller.get(f"/executions/{execution_id}/stream", params={"since": since})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_CURSOR")
