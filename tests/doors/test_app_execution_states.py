"""How executions stand, in the words of the app door: in lists, in refusals, and where a flow rests."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

SLEEPS: dict[str, Any] = {"nodes": [{"id": "s", "type": "wait", "parameters": {"seconds": 3600}}]}
ECHO: dict[str, Any] = {"nodes": [{"id": "a", "type": "echo"}]}
NOWHERE = "{{ 'http://0.0.0.1/' }}"
FAILS: dict[str, Any] = {"nodes": [{"id": "f", "type": "http_request", "parameters": {"url": NOWHERE}}]}
FLOW: dict[str, Any] = {
    "kind": "flow",
    "states": ["draft", "review", "done"],
    "user_input_states": ["draft", "review"],
    "transitions": [
        {"from": "draft", "event": "SUBMIT", "to": "review"},
        {"from": ["draft", "review"], "event": "GIVE_UP", "to": "done"},
        {"from": "review", "event": "ACCEPT", "to": "done"},
    ],
}


async def ended(caller: Any, definition: Any, **settings: Any) -> str:
    """The id of an execution that has ended."""
    workflow_id = await caller.stored(definition)
    answer = await caller.post(f"/workflows/{workflow_id}/execute", {"settings": settings})
    execution_id = str(answer.json()["execution_id"])
    async with asyncio.timeout(20):
        await caller.get(f"/executions/{execution_id}/stream")
    return execution_id


async def cancelled(caller: Any) -> str:
    execution_id = str(await caller.started(SLEEPS, wait_ms=5_000))
    await caller.post(f"/executions/{execution_id}/cancel")
    return execution_id


async def shown(caller: Any, execution_id: str) -> dict[str, Any]:
    return dict((await caller.get(f"/executions/{execution_id}")).json())


async def test_failures_by_a_deadline_and_others_are_told_apart_in_lists_as_they_are_shown(caller: Any) -> None:
    late, failed = await ended(caller, SLEEPS, timeout=0.1), await ended(caller, FAILS)
    done = await ended(caller, ECHO)

    async def ids(query: str) -> list[str]:
        body = (await caller.get(f"/executions?{query}")).json()
        assert body["total_count"] == len(body["executions"])
        return [item["execution_id"] for item in body["executions"]]

    for word, execution_id in (("TIMEOUT", late), ("ERROR", failed), ("SUCCESS", done)):
        assert (await shown(caller, execution_id))["status"] == word
        assert await ids(f"status={word}") == [execution_id]
    assert await ids("status=failed") == [failed]
    assert await ids("status=error,timeout") == [failed, late]
    assert await ids("status=success,timeout") == [done, late]
    assert await ids("") == [done, failed, late]


async def test_who_comes_too_late_is_told_how_it_ended_in_the_words_of_this_door(caller: Any) -> None:
    over = {
        "SUCCESS": await ended(caller, ECHO),
        "ERROR": await ended(caller, FAILS),
        "TIMEOUT": await ended(caller, SLEEPS, timeout=0.1),
        "CANCELED": await cancelled(caller),
    }
    for word, execution_id in over.items():
        for verb, body in (("signal", {"name": "go"}), ("pause", {}), ("resume", {})):
            answer = await caller.post(f"/executions/{execution_id}/{verb}", body)
            assert (answer.status_code, answer.json()["error_code"]) == (409, "SESSION_CLOSED"), (word, verb)
            told = answer.json()["details"]
            assert (told["status"], told["ended"]) == (word, True), verb
        assert (await shown(caller, execution_id))["status"] == word


@pytest.mark.parametrize(
    ("told", "state", "events"),
    [({}, "draft", ["SUBMIT", "GIVE_UP"]), ({"start_from_node": "review"}, "review", ["GIVE_UP", "ACCEPT"])],
)
async def test_a_flow_that_has_not_moved_shows_its_state_and_its_events(
    caller: Any, told: Any, state: str, events: list[str]
) -> None:
    workflow_id = await caller.stored(FLOW)
    answer = await caller.post(f"/workflows/{workflow_id}/execute", {"wait_ms": 5_000, **told})
    execution_id = answer.json()["execution_id"]
    before = await shown(caller, execution_id)
    assert (before["status"], before["active_states"], before["valid_events"]) == ("WAITING", [state], events)
    refused = await caller.post(f"/executions/{execution_id}/signal", {"name": "NONSENSE"})
    assert refused.json()["details"]["valid_events"] == events, "the engine says the same"
    await caller.post(f"/executions/{execution_id}/signal", {"name": "GIVE_UP"})
    after = await shown(caller, execution_id)
    assert (after["status"], after["active_states"], after["valid_events"]) == ("SUCCESS", ["done"], [])
