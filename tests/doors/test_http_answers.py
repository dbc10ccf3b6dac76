"""Answers are what the OpenAPI document says they are."""

from __future__ import annotations

from typing import Any

import httpx2
import jsonschema_rs
import pytest

from interlock.doors.http.app.door import AppError
from interlock.doors.http.app_factory import all_operations
from interlock.doors.http.plumbing.openapi import openapi

DOCUMENT = openapi(all_operations(lambda: b""), "x", "1", {"app": AppError})
ASKS: dict[str, Any] = {"nodes": [{"id": "q", "type": "approval", "parameters": {"title": "Pay?"}}]}
WRITES: dict[str, Any] = {
    "nodes": [
        {"id": "a", "type": "write_artifact", "parameters": {"name": "a.txt", "content": "x"}},
        {"id": "b", "type": "http_request", "parameters": {"url": "{{ 'http://0.0.0.1/' }}"}},
    ],
    "connections": [{"from_node": "a", "to_node": "b"}],
}


def check(method: str, template: str, answer: httpx2.Response) -> Any:
    """The body, if its status is declared and it has the declared shape."""
    responses = DOCUMENT["paths"][template][method.lower()]["responses"]
    assert str(answer.status_code) in responses, (method, template, answer.status_code, answer.text)
    schema = responses[str(answer.status_code)].get("content", {}).get("application/json", {}).get("schema", {})
    validator = jsonschema_rs.validator_for({**schema, "components": DOCUMENT["components"]})
    body = answer.json()
    assert [error.message for error in validator.iter_errors(body)] == [], (method, template)
    return body


@pytest.mark.parametrize("definition", [ASKS, WRITES], ids=["asks", "writes and fails"])
async def test_every_answer_has_its_documented_shape(caller: Any, definition: dict[str, Any]) -> None:
    app = "/api/app"
    made = check("POST", f"{app}/workflows", await caller.post("/workflows", {"name": "x", **definition}))
    workflow = {"workflow_id": made["workflow_id"]}
    path = f"{app}/workflows/{{workflow_id}}"
    started = check(
        "POST", f"{path}/execute", await caller.post(f"/workflows/{made['id']}/execute", {"wait_ms": 5_000})
    )
    execution = {"execution_id": started["execution_id"]}
    await caller.get(f"/executions/{started['execution_id']}?wait_ms=5000")
    there = f"{app}/executions/{{execution_id}}"
    for template in (
        f"{app}/workflows",
        f"{app}/workflows/node-templates",
        path,
        f"{path}/versions",
        f"{path}/history",
        f"{path}/executions",
        f"{app}/executions",
        there,
        f"{there}/events",
        f"{there}/artifacts",
        f"{app}/approvals",
        "/health",
        "/ready",
    ):
        check("GET", template, await caller.http.get(template.format(**workflow, **execution)))
    check("POST", f"{app}/workflows/validate", await caller.post("/workflows/validate", definition))
    check("PUT", path, await caller.put(f"/workflows/{made['id']}", {"name": "y"}))
    for approval in (await caller.get("/approvals")).json()["approvals"]:
        one = f"{app}/approvals/{{approval_id}}"
        check("GET", one, await caller.get(f"/approvals/{approval['approval_id']}"))
        check(
            "POST",
            f"{one}/decide",
            await caller.post(f"/approvals/{approval['approval_id']}/decide", {"decision": "no"}),
        )
    check("POST", f"{there}/cancel", await caller.post(f"/executions/{execution['execution_id']}/cancel"))
    check(
        "POST", f"{there}/signal", await caller.post(f"/executions/{execution['execution_id']}/signal", {"name": "x"})
    )
    check("DELETE", path, await caller.http.delete(f"{app}/workflows/{made['id']}"))


async def test_refusals_have_their_documented_shape(caller: Any, nobody: httpx2.AsyncClient) -> None:
    unknown = "01a200d1-a110-7d1f-acf5-1ee0f56c9eda"
    template = "/api/app/workflows/{workflow_id}/execute"
    place = f"/api/app/workflows/{unknown}/execute"
    check("POST", template, await nobody.post(place, json={}))
    check("POST", template, await caller.http.post(place, json={}))
    check("POST", template, await caller.http.post(place, json={"wait_ms": "x"}))
    check("POST", template, await caller.http.post(place, content=b"{}", headers={"content-type": "text/plain"}))
    check("POST", "/api/app/workflows", await caller.post("/workflows", {"name": "x", "nodes": [{}]}))
