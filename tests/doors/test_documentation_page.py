"""The document behind /docs is enough to try things out: who one is, which headers count, bodies that work."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from doors.tempo_house import Tempo
from interlock.doors.http.app.door import AppError
from interlock.doors.http.app_factory import all_operations
from interlock.doors.http.plumbing.openapi import openapi

START = "/api/workflow/start"


async def document_of(nobody: httpx2.AsyncClient) -> Any:
    return (await nobody.get("/openapi.json")).json()


def headers_of(operation: Any) -> set[str]:
    return {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "header"}


async def test_in_local_mode_the_page_names_a_tenant(nobody: httpx2.AsyncClient) -> None:
    document = await document_of(nobody)
    scheme = document["components"]["securitySchemes"]["tenant"]
    assert (scheme["in"], scheme["name"]) == ("header", "X-Tenant-Id")
    security = document["paths"][START]["post"]["security"]
    assert security == [{"tenant": []}, {"bearer": []}, {"apiKey": []}, {}]
    start = (await nobody.get("/docs/assets/start.js")).text
    assert 'preauthorizeApiKey("tenant", "default")' in start


def test_elsewhere_a_tenant_is_no_credential() -> None:
    document = openapi(all_operations(lambda: b""), "x", "1", {"app": AppError})
    assert "tenant" not in document["components"]["securitySchemes"]
    assert document["paths"][START]["post"]["security"] == [{"bearer": []}, {"apiKey": []}]


async def test_what_the_page_offers_works_as_it_is(nobody: httpx2.AsyncClient, tempo: Tempo) -> None:
    paths = (await document_of(nobody))["paths"]

    def example(path: str, method: str = "post") -> Any:
        return paths[path][method]["requestBody"]["content"]["application/json"]["example"]

    flow = example("/api/registry/flows")
    await tempo.post("/api/registry/flows", flow)
    await tempo.post("/api/registry/nodes", example("/api/registry/nodes"))
    started = await tempo.post(START, example(START))
    path = f"/api/workflow/{started['session_id']}/event"
    moved = await tempo.post(path, example("/api/workflow/{session_id}/event"))
    assert moved["session_state"] == "completed"
    written = example("/api/state/{session_id}/{key}", "put")
    await tempo.call("PUT", "/api/state/scratch/key", json=written)
    hello = await tempo.post(START, {"flow_id": flow["flow_id"], "params": {"input": "Hello"}})
    assert (hello["state"], hello["session_state"]) == ("confirm", "waiting_user")


@pytest.mark.parametrize(
    ("path", "method", "header"),
    [
        (START, "post", "Prefer"),
        ("/api/workflow/{session_id}/event", "post", "Prefer"),
        ("/api/workflow/{session_id}/callback", "post", "X-Callback-Token"),
        ("/api/state/{session_id}/{key}", "put", "If-Match"),
        ("/v1/chat/completions", "post", "X-Interlock-Cache"),
        ("/api/llm/chat", "post", "X-Interlock-Cache"),
    ],
)
async def test_headers_that_count_are_listed(nobody: httpx2.AsyncClient, path: str, method: str, header: str) -> None:
    assert header in headers_of((await document_of(nobody))["paths"][path][method])


async def test_the_sockets_are_told_of(nobody: httpx2.AsyncClient) -> None:
    assert "/ws/events/{session_id}" in (await document_of(nobody))["info"]["description"]


async def test_what_is_limited_can_answer_429(nobody: httpx2.AsyncClient) -> None:
    paths = (await document_of(nobody))["paths"]
    assert "429" in paths[START]["post"]["responses"]
    limited = [found for methods in paths.values() for found in methods.values() if "401" in found["responses"]]
    assert all("429" in found["responses"] for found in limited)
