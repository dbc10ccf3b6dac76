"""What a tenant keeps has a bound, and who comes to it is told what to do."""

from __future__ import annotations

from typing import Any

from interlock.services.access import tickets
from interlock.services.workflows import create, update

GRAPH = {"nodes": [{"id": "a", "type": "echo"}], "connections": []}


async def refusal(answer: Any, status: int, code: str) -> str:
    assert (answer.status_code, answer.json()["error_code"]) == (status, code), answer.text
    return str(answer.json()["message"])


async def test_workflows(make_caller: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(create, "MAX_WORKFLOWS", 2)
    caller = await make_caller()
    keyed = {"headers": {"idempotency-key": "the first"}}
    first = await caller.post("/workflows", {"name": "one", **GRAPH}, **keyed)
    await caller.stored(GRAPH)
    told = await refusal(await caller.post("/workflows", {"name": "three", **GRAPH}), 409, "TOO_MANY_WORKFLOWS")
    assert "delete one first" in told
    told = {"headers": {"idempotency-key": "another"}}
    await refusal(await caller.post("/workflows", {"name": "three", **GRAPH}, **told), 409, "TOO_MANY_WORKFLOWS")
    again = await caller.post("/workflows", {"name": "one", **GRAPH}, **keyed)
    assert again.json()["workflow_id"] == first.json()["workflow_id"]
    assert (await (await make_caller()).post("/workflows", {"name": "mine", **GRAPH})).status_code == 200
    assert (await caller.http.delete(f"/api/app/workflows/{first.json()['workflow_id']}")).status_code == 200
    assert (await caller.post("/workflows", {"name": "three", **GRAPH})).status_code == 200


async def test_versions_of_a_workflow(make_caller: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(update, "MAX_VERSIONS", 3)
    caller = await make_caller()
    workflow_id = await caller.stored(GRAPH)
    path = f"/api/app/workflows/{workflow_id}"
    answers = [await caller.http.patch(path, json={"description": f"number {number}"}) for number in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 409]
    assert "store it anew" in await refusal(answers[-1], 409, "TOO_MANY_VERSIONS")


async def test_stream_tickets(make_caller: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(tickets, "MAX_TICKETS", 2)
    caller = await make_caller()
    path = {"resource": "/api/app/workflows/x/stream"}
    answers = [await caller.post("/stream-tickets", path) for _ in range(3)]
    assert [answer.status_code for answer in answers[:2]] == [201, 201], answers[0].text
    await refusal(answers[2], 429, "TOO_MANY_TICKETS")
    assert answers[2].headers["retry-after"] == "60"
