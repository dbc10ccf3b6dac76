"""Users' code as tasks of a workflow, from the shelf through the engine and the sandbox."""

from __future__ import annotations

from typing import Any

from interlock.core.principal import Principal


def sends(tenant_id: str) -> Principal:
    return Principal(subject="ann", tenant_id=tenant_id, scopes=frozenset({"code:write"}))


def graph(digest: str, **more: Any) -> dict[str, Any]:
    parameters = {"code": digest, "arguments": {"x": 41}}
    return {
        "nodes": [
            {"id": "start", "type": "trigger"},
            {"id": "inc", "type": "code", "parameters": parameters, **more},
        ],
        "connections": [{"from_node": "start", "to_node": "inc"}],
    }


async def test_a_saved_function_is_a_task(house: Any, caller: Any) -> None:
    content = b"def inc(params):\n    open('artifacts/y.txt', 'w').write('42')\n    return {'y': params['x'] + 1}"
    digest = await house.services.save_code(sends(caller.tenant_id), "source", content)
    execution_id = await caller.started(graph(digest), wait_ms=20_000)
    told = (await caller.get(f"/executions/{execution_id}")).json()
    assert told["status"] == "SUCCESS", told
    assert "42" in str(told)


async def test_code_of_another_tenant_is_not_run(house: Any, caller: Any) -> None:
    digest = await house.services.save_code(sends("another"), "source", b"def f(p): return 1")
    execution_id = await caller.started(graph(digest), wait_ms=20_000)
    told = (await caller.get(f"/executions/{execution_id}")).json()
    assert told["status"] == "ERROR"
    assert "CODE_NOT_FOUND" in str(told)


async def test_a_session_can_run_code(house: Any, tempo: Any) -> None:
    digest = await house.services.save_code(sends(tempo.tenant_id), "source", b"def f(p): return {'y': p['x'] + 1}")
    told = {"node_id": "code", "params": {"code": digest, "arguments": {"x": 41}}, "wait_ms": 20_000}
    session_id = await tempo.started(told)
    assert (await tempo.state(session_id))["session_state"] == "completed"
