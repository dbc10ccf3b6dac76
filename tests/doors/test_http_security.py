"""Who may talk to the server, from where, and what every answer carries."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
import structlog

BASE = "http://127.0.0.1:8000"
UNKNOWN = "01a200d1-a110-7d1f-acf5-1ee0f56c9eda"


async def ask(app: Any, method: str, path: str, **options: Any) -> httpx2.Response:
    """One request of nobody in particular."""
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url=BASE) as client:
        return await client.request(method, path, **options)


LOOPBACK_HOSTS = [
    "127.0.0.1:8000",
    "127.0.0.1",
    "127.3.2.1:9",
    "localhost",
    "LOCALHOST:1234",
    "localhost.",
    "localhost.:8000",
    "localhost:",
    "[::1]:8000",
    "[::1]",
    "[0:0:0:0:0:0:0:1]:8000",
]
OTHER_HOSTS = [
    "evil.example",
    "127.0.0.1.evil.example",
    "localhost.evil.example:8000",
    "localhost..",
    "127.0.0.1:80:80",
    "127.0.0.1:123456",
    "",
    ":8000",
    "::1",
    "[::2]",
    "[::1",
    "[::1]x",
    "[::ffff:10.0.0.1]",
    "0.0.0.0:8000",
    "10.0.0.1:8000",
    "a@localhost",
    "localhost/x",
    "localhost,evil.example",
    "l\u00f6calhost",
    "x" * 5000,
]


@pytest.mark.parametrize("host", LOOPBACK_HOSTS)
async def test_local_mode_serves_loopback_names(house: Any, host: str) -> None:
    assert (await ask(house.app(), "GET", "/live", headers={"host": host})).status_code == 200


@pytest.mark.parametrize("host", OTHER_HOSTS)
async def test_local_mode_serves_no_other_name(house: Any, host: str) -> None:
    headers = httpx2.Headers({"host": host}, encoding="latin-1")
    answer = await ask(house.app(), "GET", "/live", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (421, "MISDIRECTED_REQUEST")


async def raw(app: Any, *headers: tuple[bytes, bytes], client: tuple[str, int] | None = ("127.0.0.1", 1)) -> int:
    """The status of a request with exactly these headers from this peer."""
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/live",
        "raw_path": b"/live",
        "query_string": b"",
        "root_path": "",
        "headers": list(headers),
        "client": client,
        "server": ("127.0.0.1", 8000),
    }
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return int(sent[0]["status"])


HERE = (b"host", b"localhost:8000")


async def test_a_request_names_exactly_one_host(house: Any) -> None:
    app = house.app()
    assert await raw(app, HERE) == 200
    assert await raw(app) == 421
    assert await raw(app, HERE, (b"host", b"evil.example")) == 421
    assert await raw(app, HERE, HERE) == 421


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
async def test_local_mode_answers_this_machine(house: Any, peer: str) -> None:
    assert await raw(house.app(), HERE, client=(peer, 1)) == 200
    assert await raw(house.app(), HERE, client=None) == 200, "a unix socket"


@pytest.mark.parametrize("peer", ["10.0.0.7", "192.168.1.2", "fd00::7", "::ffff:10.0.0.7", "testclient"])
async def test_local_mode_answers_other_machines_only_if_allowed(house: Any, peer: str) -> None:
    assert await raw(house.app(), HERE, client=(peer, 1)) == 403
    assert await raw(house.app(allows_remote=True), HERE, client=(peer, 1)) == 200
    assert await raw(house.app(is_local=False), HERE, client=(peer, 1)) == 200


async def test_remote_callers_of_local_mode_need_a_configured_name(house: Any) -> None:
    app = house.app(allows_remote=True, allowed_hosts=frozenset({"box.example", "192.168.1.2"}))
    far = ("192.168.1.9", 1)
    assert await raw(app, (b"host", b"box.example:8000"), client=far) == 200
    assert await raw(app, (b"host", b"192.168.1.2:8000"), client=far) == 200
    assert await raw(app, (b"host", b"evil.example:8000"), client=far) == 421


@pytest.mark.parametrize("host", ["box.example", "Box.Example:8000", "BOX.EXAMPLE.", "[FD00:0::5]:8000", "localhost"])
async def test_configured_names_are_served_however_they_are_spelled(house: Any, host: str) -> None:
    app = house.app(allowed_hosts=frozenset({"Box.example.", "fd00::5"}))
    assert (await ask(app, "GET", "/live", headers={"host": host})).status_code == 200


async def test_outside_local_mode_configured_names_are_the_only_ones(house: Any) -> None:
    remote = house.app(is_local=False, allowed_hosts=frozenset({"box.example"}))
    assert (await ask(remote, "GET", "/live", headers={"host": "box.example:443"})).status_code == 200
    assert (await ask(remote, "GET", "/live", headers={"host": "localhost"})).status_code == 421
    anywhere = house.app(is_local=False)
    assert (await ask(anywhere, "GET", "/live", headers={"host": "whatever.example"})).status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://localhost:3000", "https://127.0.0.1", "http://[::1]:5173", "HTTP://LOCALHOST:3000"]
)
async def test_local_mode_lets_loopback_pages_read(house: Any, origin: str) -> None:
    answer = await ask(house.app(), "GET", "/version", headers={"origin": origin})
    assert answer.headers["access-control-allow-origin"] == origin
    assert answer.headers["vary"] == "Origin"
    assert "X-Trace-Id" in answer.headers["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in answer.headers


FOREIGN = [
    "https://evil.example",
    "null",
    "",
    "file://",
    "ftp://localhost",
    "http://localhost.evil.example",
    "http://127.0.0.1:80:80",
    "http://127.0.0.1.evil.example",
    "http://localhost@evil.example",
    "http://evil.example#localhost",
    "http://[::2]:5173",
]


@pytest.mark.parametrize("origin", FOREIGN)
async def test_local_mode_refuses_foreign_pages(house: Any, origin: str) -> None:
    """G13."""
    for method, path in (("GET", "/health"), ("POST", "/api/app/workflows"), ("OPTIONS", "/api/app/workflows")):
        answer = await ask(house.app(), method, path, headers={"origin": origin})
        assert (answer.status_code, answer.json()["code"]) == (403, "ORIGIN_DENIED")
        assert "access-control-allow-origin" not in answer.headers


async def test_local_mode_lets_configured_pages_and_its_own_read(house: Any) -> None:
    app = house.app(allowed_hosts=frozenset({"box.example"}), allowed_origins=frozenset({"https://Studio.example"}))

    async def status(origin: str, host: str = "box.example:8000") -> int:
        return (await ask(app, "GET", "/version", headers={"origin": origin, "host": host})).status_code

    assert await status("https://studio.example") == 200
    assert await status("http://box.example:8000") == 200
    assert await status("http://box.example:9000") == 403, "another server's page on the same machine"
    assert await status("http://evil.example", "evil.example") == 421, "a page cannot make its name one of ours"


async def test_outside_local_mode_a_foreign_page_gets_no_permission_to_read(house: Any) -> None:
    """G13."""
    app = house.app(is_local=False, allowed_origins=frozenset({"https://studio.example"}))
    foreign = await ask(app, "GET", "/version", headers={"origin": "https://evil.example"})
    assert foreign.status_code == 200
    assert "access-control-allow-origin" not in foreign.headers
    own = await ask(app, "GET", "/version", headers={"origin": "https://studio.example"})
    assert own.headers["access-control-allow-origin"] == "https://studio.example"


async def test_a_preflight_is_answered_before_any_credential(house: Any) -> None:
    answer = await ask(
        house.app(),
        "OPTIONS",
        "/api/app/workflows",
        headers={
            "origin": "http://localhost:3000",
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization, idempotency-key",
        },
    )
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-methods"] == "GET, HEAD, OPTIONS, POST"
    assert answer.headers["access-control-allow-headers"] == "authorization, idempotency-key"
    assert answer.headers["access-control-max-age"] == "600"


@pytest.mark.parametrize("path", ["/", "/docs", "/nope", "/api/app/workflows", "/docs/assets/start.js"])
async def test_every_answer_carries_the_wall(nobody: httpx2.AsyncClient, path: str) -> None:
    """G13."""
    answer = await nobody.get(path)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "no-referrer"
    for name in ("x-request-id", "x-trace-id", "traceparent", "x-process-time"):
        assert answer.headers[name]


async def test_private_answers_stay_out_of_shared_caches(caller: Any) -> None:
    assert (await caller.get("/workflows")).headers["cache-control"] == "private, no-cache"
    assert (await caller.get(f"/workflows/{UNKNOWN}")).headers["cache-control"] == "no-store"


async def test_a_refusal_has_the_whole_envelope(nobody: httpx2.AsyncClient) -> None:
    answer = await nobody.get(f"/api/v1/app/executions/{UNKNOWN}", headers={"x-request-id": "r-1", "x-trace-id": "abc"})
    body = answer.json()
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert body.pop("timestamp").endswith("Z")
    assert body == {
        "success": False,
        "error": "unauthorized",
        "error_code": "AUTHENTICATION_FAILED",
        "message": "This call needs a token: send Authorization: Bearer <token>",
        "path": "/api/app/executions/{execution_id}",
        "method": "GET",
        "request_id": "r-1",
        "trace_id": "abc",
        "retryable": False,
        "reason": "missing_token",
        "required_auth": "Bearer token via Authorization header",
    }


async def test_where_only_a_key_is_taken_nobody_is_asked_for_a_token(nobody: httpx2.AsyncClient, caller: Any) -> None:
    answer = await nobody.get("/v1/models")
    assert (answer.status_code, "X-API-Key" in answer.json()["error"]["message"]) == (401, True), answer.text
    told = (await caller.http.get("/v1/models")).json()["error"]["message"]
    assert told == "This call needs an API key"


async def test_the_order_of_checks_is_route_credential_scope_syntax_object(
    caller: Any, make_caller: Any, nobody: Any
) -> None:
    limited = await make_caller(scopes=[])
    garbage: dict[str, Any] = {"content": b"{", "headers": {"content-type": "application/json"}}
    path = f"/api/app/workflows/{UNKNOWN}/execute"
    assert (await nobody.post(f"{path}x", **garbage)).status_code == 404
    assert (await nobody.put(path, **garbage)).status_code == 405
    assert (await nobody.post(path, **garbage)).status_code == 401
    assert (await limited.http.post(path, **garbage)).status_code == 403
    assert (await caller.http.post(path, **garbage)).status_code == 400
    assert (await caller.http.post(path, json={"wait_ms": "x"})).json()["error_code"] == "VALIDATION_ERROR"
    assert (await caller.http.post(path, json={})).status_code == 404


async def test_traces_go_in_and_out(nobody: httpx2.AsyncClient) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    parent = {"traceparent": f"00-{trace}-b7ad6b7169203331-01", "x-trace-id": "other"}
    by_parent = await nobody.get("/version", headers=parent)
    assert by_parent.headers["x-trace-id"] == trace
    assert by_parent.headers["traceparent"].startswith(f"00-{trace}-")
    free = await nobody.get("/version", headers={"x-trace-id": "my.trace-1", "x-request-id": "my.request_1"})
    assert (free.headers["x-trace-id"], free.headers["x-request-id"]) == ("my.trace-1", "my.request_1")
    assert len(free.headers["traceparent"]) == 55


@pytest.mark.parametrize("bad", ["", "a b", "x" * 129, "a\tb", "<script>", "caf\u00e9"])
async def test_ids_in_other_shapes_are_replaced(nobody: httpx2.AsyncClient, bad: str) -> None:
    headers = {"x-request-id": bad.encode("latin-1"), "x-trace-id": bad.encode("latin-1")}
    answer = await nobody.get("/version", headers=headers)
    assert len(answer.headers["x-request-id"]) == 32
    assert len(answer.headers["x-trace-id"]) == 32


@pytest.mark.parametrize("bad", ["00-" + "0" * 32 + "-b7ad6b7169203331-01", "nonsense", "00-xyz-b7ad6b7169203331-01"])
async def test_a_broken_traceparent_is_no_trace(nobody: httpx2.AsyncClient, bad: str) -> None:
    answer = await nobody.get("/version", headers={"traceparent": bad, "x-trace-id": "mine"})
    assert answer.headers["x-trace-id"] == "mine"


async def test_the_trace_of_a_request_stands_in_the_events_it_causes(caller: Any) -> None:
    definition = {"nodes": [{"id": "w", "type": "wait", "parameters": {"signal": "go"}}]}
    workflow_id = await caller.stored(definition)
    started = await caller.post(
        f"/workflows/{workflow_id}/execute", {"wait_ms": 5_000}, headers={"x-trace-id": "start-1"}
    )
    execution_id = started.json()["execution_id"]
    await caller.post(f"/executions/{execution_id}/signal", {"name": "go"}, headers={"x-trace-id": "signal-2"})
    events = (await caller.get(f"/executions/{execution_id}/events")).json()["events"]
    assert events[0]["trace_id"] == "start-1"
    assert events[-1]["trace_id"] == "signal-2"


async def test_a_failure_nobody_foresaw_tells_only_its_code_and_trace(
    house: Any, make_caller: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """H6."""
    caller = await make_caller()

    async def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("password=hunter2 at /etc/interlock/secret.py")

    monkeypatch.setattr(type(house.services.read_workflows), "page", broken)
    with structlog.testing.capture_logs() as logs:
        answer = await caller.get("/workflows")
    body = answer.json()
    assert (answer.status_code, body["error"], body["error_code"]) == (
        500,
        "internal_server_error",
        "INTERNAL_SERVER_ERROR",
    )
    assert "hunter2" not in answer.text
    assert "RuntimeError" not in answer.text
    assert body["trace_id"] == answer.headers["x-trace-id"]
    failures = [entry for entry in logs if entry["log_level"] == "error"]
    assert [(entry["event"], entry["exc_info"]) for entry in failures] == [("error", True)]


@pytest.mark.parametrize("name", ["tenant_id", "user_id", "owner"])
async def test_a_body_that_names_another_owner_is_refused(caller: Any, name: str) -> None:
    answer = await caller.http.post("/api/app/workflows", json={"name": "w", "nodes": [], name: "somebody-else"})
    assert (answer.status_code, answer.json()["error_code"]) == (403, "TENANT_MISMATCH")
    assert answer.json()["details"]["field"] == name


async def test_a_body_may_repeat_its_own_tenant(caller: Any) -> None:
    own = caller.tenant_id
    body = {"name": "w", "nodes": [{"id": "a", "type": "echo"}], "connections": [], "tenant_id": own}
    assert (await caller.http.post("/api/app/workflows", json=body)).status_code == 200
