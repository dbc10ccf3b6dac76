"""Code that is there already is still code: who names it in a workflow needs ``code:write``."""

from __future__ import annotations

from typing import Any

import pytest

ONE, OTHER = "1" * 64, "2" * 64
LESS = frozenset({"workflows:read", "workflows:write", "registry:write", "registry:read", "workflows:execute"})
REGISTER = "/api/registry/flows"


def graph(digest: str, **more: Any) -> dict[str, Any]:
    return {"name": "w", "nodes": [{"id": "run", "type": "code", "parameters": {"code": digest, **more}}]}


def flow(digest: str, name: str = "f") -> dict[str, Any]:
    text = (
        "states: [run, end]\nstate_node_map: {run: builtin://code}\n"
        f"state_params: {{run: {{code: '{digest}'}}}}\n"
        "transitions: [{from: run, event: STEP_DONE, to: end}]\n"
    )
    return {"flow_id": name, "name": name, "yaml_content": text}


def is_denied(answer: Any) -> bool:
    return answer.status_code == 403 and "code:write" in answer.text


@pytest.mark.parametrize("definition", [graph(ONE), graph("{{ $trigger.code }}")])
async def test_a_workflow_that_calls_code_is_stored_by_who_may_write_code(
    make_caller: Any, caller: Any, definition: dict[str, Any]
) -> None:
    less = await make_caller(caller.tenant_id, scopes=LESS)
    assert is_denied(await less.post("/workflows", definition))
    assert (await less.get("/workflows")).json()["total_count"] == 0
    await caller.stored(definition)


async def test_a_change_asks_for_it_only_if_it_changes_the_code(make_caller: Any, caller: Any) -> None:
    workflow_id = await caller.stored({**graph(ONE), "visibility": "tenant"})
    less = await make_caller(caller.tenant_id, scopes=LESS)
    named = {**graph(ONE, arguments={"x": 1}), "name": "another", "visibility": "tenant"}
    changed = await less.put(f"/workflows/{workflow_id}", named)
    assert (changed.status_code, changed.json()["name"]) == (200, "another")
    for told in (graph(OTHER), graph(ONE, form="pickle"), graph(ONE, function="g"), graph(ONE, args=OTHER)):
        assert is_denied(await less.put(f"/workflows/{workflow_id}", told)), told
    assert (await caller.put(f"/workflows/{workflow_id}", graph(OTHER))).status_code == 200


async def test_so_it_is_for_registered_flows(make_caller: Any, caller: Any) -> None:
    less = await make_caller(caller.tenant_id, scopes=LESS)
    assert is_denied(await less.http.post(REGISTER, json=flow(ONE)))
    assert (await caller.http.post(REGISTER, json=flow(ONE))).is_success
    again = {**flow(ONE), "name": "renamed"}
    assert (await less.http.post(REGISTER, json=again)).is_success
    assert is_denied(await less.http.post(REGISTER, json=flow(OTHER)))


async def test_and_for_a_session_of_the_node_alone(make_caller: Any, caller: Any) -> None:
    less = await make_caller(caller.tenant_id, scopes=LESS)
    told = {"node_id": "code", "params": {"code": ONE}}
    assert is_denied(await less.http.post("/api/workflow/start", json=told))
    assert (await less.http.post("/api/workflow/start", json={"node_id": "echo", "params": {}})).is_success
