"""Workflows of the app door are listed, found under every spelling of their path, and seen by nobody else."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.core.principal import Scope

ECHO: dict[str, Any] = {"nodes": [{"id": "a", "type": "echo"}]}


async def test_lists_have_pages_filters_and_the_latest_execution(caller: Any) -> None:
    for number in range(3):
        await caller.stored({"name": f"number {number}", "tags": ["even"] if number % 2 == 0 else [], **ECHO})
    first = (await caller.get("/workflows?limit=2")).json()
    second = (await caller.get("/workflows?limit=2&offset=2")).json()
    assert (first["total_count"], first["total"], first["has_more"], second["has_more"]) == (3, 3, True, False)
    assert [item["name"] for item in first["workflows"] + second["workflows"]] == ["number 2", "number 1", "number 0"]
    even = (await caller.get("/workflows?tags=even")).json()["workflows"]
    assert [item["name"] for item in even] == ["number 2", "number 0"]
    found = (await caller.get("/workflows?search=NUMBER%201")).json()["workflows"]
    assert [item["name"] for item in found] == ["number 1"]
    await caller.post(f"/workflows/{found[0]['id']}/execute", {"wait_ms": 5_000})
    shown = (await caller.get("/workflows?search=number%201")).json()["workflows"][0]
    assert (shown["latest_execution_status"], shown["active"]) == ("SUCCESS", True)
    bare = await caller.get("/workflows?format=list&limit=1")
    assert (len(bare.json()), bare.headers["x-total-count"]) == (1, "3")


async def test_an_answer_the_caller_already_holds_is_not_sent_again(caller: Any) -> None:
    workflow_id = await caller.stored(ECHO)
    for path in (f"/workflows/{workflow_id}", "/workflows", f"/workflows/{workflow_id}/versions"):
        first = await caller.get(path)
        again = await caller.get(path, headers={"if-none-match": f'W/"x", {first.headers["etag"]}'})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
    before = (await caller.get(f"/workflows/{workflow_id}")).headers["etag"]
    await caller.put(f"/workflows/{workflow_id}", {"name": "changed"})
    assert (await caller.get(f"/workflows/{workflow_id}", headers={"if-none-match": before})).status_code == 200


async def test_the_catalogue_names_what_can_be_used_in_both_vocabularies(caller: Any) -> None:
    templates = {item["id"]: item for item in (await caller.get("/workflows/node-templates")).json()["node_templates"]}
    assert {"transform", "approval", "FLOW.IF", "ACTION.HTTP_REQUEST", "HUMAN_IN_THE_LOOP.FORM_SUBMISSION"} <= set(
        templates
    )
    assert templates["ACTION.HTTP_REQUEST"]["required_parameters"] == ["url"]
    assert templates["FLOW.IF"]["native_type"] == "condition"


async def test_every_spelling_of_a_path_answers_the_same_without_a_redirect(caller: Any) -> None:
    workflow_id = await caller.stored(ECHO)
    for path in ("/workflows", f"/workflows/{workflow_id}", f"/workflows/{workflow_id}/executions"):
        answers = [
            await caller.http.get(f"{prefix}{path}{slash}")
            for prefix in ("/api/app", "/api/v1/app")
            for slash in ("", "/")
        ]
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.content for answer in answers}) == 1
    made = await caller.http.post("/api/v1/app/workflows/", json={"name": "slash", **ECHO})
    assert made.status_code == 200


async def test_aliases_of_a_path_answer_byte_for_byte_the_same(caller: Any) -> None:
    workflow_id = await caller.stored(ECHO)
    await caller.post(f"/workflows/{workflow_id}/execute", {"wait_ms": 5_000})
    history = await caller.get(f"/workflows/{workflow_id}/history")
    executions = await caller.get(f"/workflows/{workflow_id}/executions")
    assert history.content == executions.content


async def test_nobody_sees_what_belongs_to_others(caller: Any, make_caller: Any) -> None:
    private = await caller.stored(ECHO)
    shared = await caller.stored({"name": "shared", "visibility": "tenant", **ECHO})
    colleague = await make_caller(caller.tenant_id)
    stranger = await make_caller()
    assert [item["id"] for item in (await colleague.get("/workflows")).json()["workflows"]] == [shared]
    assert (await stranger.get("/workflows")).json()["total_count"] == 0
    unknown = await stranger.get("/workflows/01a200d1-a110-7d1f-acf5-1ee0f56c9eda")
    for who, workflow_id in ((colleague, private), (stranger, private), (stranger, shared)):
        for answer in (
            await who.get(f"/workflows/{workflow_id}"),
            await who.put(f"/workflows/{workflow_id}", {"name": "mine"}),
            await who.http.delete(f"/api/app/workflows/{workflow_id}"),
            await who.post(f"/workflows/{workflow_id}/execute"),
            await who.get(f"/workflows/{workflow_id}/versions"),
            await who.get(f"/workflows/{workflow_id}/history"),
            await who.get(f"/workflows/{workflow_id}/stream"),
        ):
            assert (answer.status_code, answer.json()["error_code"]) == (404, unknown.json()["error_code"])


@pytest.mark.parametrize(
    ("scope", "method", "path"),
    [
        (Scope.WORKFLOWS_WRITE, "POST", "/workflows"),
        (Scope.WORKFLOWS_READ, "GET", "/workflows"),
        (Scope.WORKFLOWS_EXECUTE, "POST", "/workflows/x/execute"),
        (Scope.REGISTRY_READ, "GET", "/workflows/node-templates"),
    ],
)
async def test_a_missing_scope_is_forbidden_and_named(make_caller: Any, scope: Scope, method: str, path: str) -> None:
    limited = await make_caller(scopes=frozenset(Scope) - {scope, Scope.ADMIN})
    answer = await limited.http.request(method, f"/api/app{path}", content=b"not json at all")
    assert (answer.status_code, answer.json()["error"], answer.json()["error_code"]) == (
        403,
        "forbidden",
        "AUTHORIZATION_FAILED",
    )
    assert answer.json()["required_scopes"] == [scope]
    admin = await make_caller(scopes=[Scope.ADMIN])
    assert (await admin.http.request(method, f"/api/app{path}", json={})).status_code != 403
