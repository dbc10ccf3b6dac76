"""Paths that belong to no door."""

from __future__ import annotations

import re
from copy import copy
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from interlock.core.principal import Scope
from interlock.doors.http.app.door import AppError
from interlock.doors.http.app_factory import all_operations, build_app
from interlock.doors.http.plumbing.openapi import openapi

BASE = "http://127.0.0.1:8000"


async def ask(app: Any, path: str, **options: Any) -> httpx2.Response:
    """One GET of nobody in particular."""
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url=BASE) as client:
        return await client.get(path, **options)


async def test_the_root_says_what_answers_here(nobody: httpx2.AsyncClient) -> None:
    answer = await nobody.get("/")
    body = answer.json()
    assert answer.status_code == 200
    assert set(body) == {
        "service",
        "message",
        "version",
        "environment",
        "timestamp",
        "documentation",
        "health_check",
        "auth_model",
        "features",
        "api_layers",
        "endpoints",
    }
    assert (body["service"], body["documentation"], body["api_layers"]) == ("interlock", "/docs", {"app": "/api/app"})
    assert answer.headers["x-request-id"]
    assert float(answer.headers["x-process-time"]) >= 0


async def test_version_names_the_environment(nobody: httpx2.AsyncClient) -> None:
    """G14."""
    body = (await nobody.get("/version")).json()
    assert set(body) == {"service", "version", "environment", "debug", "timestamp"}
    assert (body["version"], body["environment"]) == ("0.0.test", "local")


async def test_health_is_ok_while_it_serves(nobody: httpx2.AsyncClient) -> None:
    body = (await nobody.get("/health")).json()
    assert set(body) == {
        "status",
        "ok",
        "health",
        "service",
        "version",
        "mode",
        "timestamp",
        "redis",
        "postgres",
        "blobs",
        "executor",
        "executor_state",
        "sandbox",
        "metrics",
    }
    assert (body["status"], body["ok"], body["health"], body["postgres"]) == ("ok", True, "healthy", "connected")
    assert set(body["metrics"]) == {"uptime_seconds", "counters", "gauges"}
    exposed = (await nobody.get("/metrics")).text
    assert "_created{" in exposed or "_created " in exposed
    figures = body["metrics"]["counters"] | body["metrics"]["gauges"]
    assert figures
    assert [name for name in figures if name.endswith("_created")] == []


async def test_clients_of_the_older_prefix_find_their_health(nobody: httpx2.AsyncClient) -> None:
    body = (await nobody.get("/api/v1/health")).json()
    told = {"ok": True, "env_loaded": False, "status": "healthy", "service": "interlock", "version": "0.0.test"}
    assert body == {**told, "timestamp": body["timestamp"]}


async def test_counters_are_for_local_mode_and_for_who_may_read_metrics(house: Any, make_caller: Any) -> None:
    app = house.app(is_local=False)
    assert (await ask(house.app(), "/health")).json()["metrics"]["counters"]
    assert (await ask(app, "/health")).json()["metrics"]["counters"] == {}
    reader = await make_caller(scopes=[Scope.METRICS_READ], app=app)
    assert (await reader.http.get("/health")).json()["metrics"]["counters"]
    wrong = await ask(app, "/health", headers={"authorization": "Bearer nonsense"})
    assert wrong.status_code == 401


async def test_why_the_executor_is_unavailable_is_for_local_mode_and_for_who_may_read_metrics(house: Any) -> None:
    state = "unavailable: the host of ray-1 was lost"
    health = copy(house.services.health)
    health._executor_state = lambda: state
    broken = replace(house, services=replace(house.services, health=health))
    for is_local, told in ((True, state), (False, "unavailable")):
        body = (await ask(broken.app(is_local=is_local), "/health")).json()
        assert (body["executor_state"], body["health"], body["ok"]) == (told, "degraded", True)


async def test_probes_answer_exactly(nobody: httpx2.AsyncClient) -> None:
    assert (await nobody.get("/live")).json() == {"live": True}
    ready = await nobody.get("/ready")
    assert (ready.status_code, ready.json()) == (200, {"ready": True})


async def test_a_draining_server_is_alive_and_not_ready(house: Any) -> None:
    context = house.context()
    app = build_app(context, lambda: b"")
    context.drain.begin()
    answer = await ask(app, "/ready")
    assert (answer.status_code, answer.json()["ready"], answer.json()["checks"]["accepting"]) == (503, False, False)
    assert answer.headers["retry-after"] == "1"
    assert (await ask(app, "/live")).status_code == 200
    assert (await ask(app, "/health")).json()["status"] == "ok"


async def test_metrics_are_open_in_local_mode_only(house: Any, make_caller: Any) -> None:
    local = await ask(house.app(), "/metrics")
    assert (local.status_code, local.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert b"interlock_build_info" in local.content
    app = house.app(is_local=False)
    assert (await ask(app, "/metrics")).status_code == 401
    limited = await make_caller(scopes=[Scope.EXECUTIONS_READ], app=app)
    assert (await limited.http.get("/metrics")).status_code == 403
    reader = await make_caller(scopes=[Scope.METRICS_READ], app=app)
    assert (await reader.http.get("/metrics")).status_code == 200
    assert (await ask(house.app(metrics_enabled=False), "/metrics")).status_code == 404


async def test_labels_of_requests_are_bounded(house: Any, nobody: httpx2.AsyncClient) -> None:
    """G12."""
    await nobody.get("/api/app/executions/01a200d1-a110-7d1f-acf5-1ee0f56c9eda")
    await nobody.get("/some/strange/path")
    await nobody.request("BREW", "/version")
    text = house.telemetry.expose().decode()
    assert "01a200d1-a110" not in text
    assert "strange" not in text
    assert "BREW" not in text


@pytest.mark.parametrize(
    "path",
    [
        "/api/invalid/endpoint",
        "/api/app/nothing",
        "/api/v2/app/workflows",
        "/api//app/workflows",
        "/favicon.ico",
        "/api/app/workflows//",
        "/docs/assets/../../etc",
    ],
)
async def test_a_path_nobody_owns_is_a_problem_for_everybody(
    caller: Any, nobody: httpx2.AsyncClient, path: str
) -> None:
    for client in (caller.http, nobody):
        answer = await client.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json"), path
        assert answer.json()["code"] == "NOT_FOUND"
        assert answer.json()["trace_id"] == answer.headers["x-trace-id"]


async def test_a_wrong_method_names_the_right_ones(nobody: httpx2.AsyncClient) -> None:
    answer = await nobody.delete("/api/app/workflows")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST")
    stream = await nobody.head("/api/app/executions/x/stream")
    assert (stream.status_code, stream.headers["allow"]) == (405, "GET, OPTIONS")


async def test_head_is_get_without_a_body(nobody: httpx2.AsyncClient) -> None:
    get, head = await nobody.get("/version"), await nobody.head("/version")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]


async def test_options_lists_the_methods(nobody: httpx2.AsyncClient) -> None:
    answer = await nobody.options("/api/app/approvals")
    assert (answer.status_code, answer.headers["allow"]) == (204, "GET, HEAD, OPTIONS")


async def test_the_documentation_needs_no_network_and_no_inline_script(nobody: httpx2.AsyncClient) -> None:
    page = await nobody.get("/docs")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert re.findall(r"<script(?![^>]*src=)", page.text) == []
    for asset in re.findall(r'(?:src|href)="(/docs/assets/[^"]+)"', page.text):
        answer = await nobody.get(asset)
        assert (answer.status_code, len(answer.content) > 0) == (200, True), asset
        again = await nobody.get(asset, headers={"if-none-match": answer.headers["etag"]})
        assert again.status_code == 304
    start = (await nobody.get("/docs/assets/start.js")).text
    document = (await nobody.get(re.findall(r'url: "([^"]+)"', start)[0])).json()
    assert document == (await nobody.get("/openapi.json")).json()
    assert (await nobody.get("/docs/assets/secrets.txt")).status_code == 404


@pytest.mark.parametrize("path", ["/redoc", "/api/v1/docs"])
async def test_other_names_of_the_documentation_lead_there(nobody: httpx2.AsyncClient, path: str) -> None:
    answer = await nobody.get(path)
    assert (answer.status_code, answer.headers["location"]) == (302, "/docs")


async def test_openapi_lists_every_route(nobody: httpx2.AsyncClient) -> None:
    answer = await nobody.get("/openapi.json")
    document = answer.json()
    assert (document["openapi"], document["info"]["title"]) == ("3.1.0", "Interlock")
    listed = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    served = {
        (operation.method, path or "/") for operation in all_operations(lambda: b"") for path in operation.paths()
    }
    assert listed == served
    assert (await nobody.get("/openapi.json", headers={"if-none-match": answer.headers["etag"]})).status_code == 304


def test_openapi_is_consistent_in_itself() -> None:
    document = openapi(all_operations(lambda: b""), "x", "1", {"app": AppError})
    text = repr(document)
    for name in set(re.findall(r"#/components/schemas/(\w+)", text)):
        assert name in document["components"]["schemas"], name
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len(set(ids))
    for path, methods in document["paths"].items():
        names = set(re.findall(r"{(\w+)}", path))
        for operation in methods.values():
            declared = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "path"}
            assert declared == names, path


def test_openapi_says_who_may_call() -> None:
    document = openapi(all_operations(lambda: b""), "x", "1", {"app": AppError})
    execute = document["paths"]["/api/app/workflows/{workflow_id}/execute"]["post"]
    assert (execute["security"], execute["x-required-scope"]) == ([{"bearer": []}], "workflows:execute")
    assert {"200", "400", "401", "403", "404", "409", "413", "415", "422", "503"} <= set(execute["responses"])
    assert "security" not in document["paths"]["/live"]["get"]
