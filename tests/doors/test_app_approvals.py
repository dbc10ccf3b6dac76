"""Approvals through the app door: one decision, by somebody who may, whatever races."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from interlock.core.principal import Scope


def asking(**parameters: Any) -> dict[str, Any]:
    """A shared workflow of one question."""
    return {
        "visibility": "tenant",
        "nodes": [{"id": "q", "name": "ask", "type": "approval", "parameters": {"title": "Pay?", **parameters}}],
    }


async def asked(caller: Any, **parameters: Any) -> tuple[str, str]:
    """The ids of an execution that asks, and of its approval."""
    execution_id = await caller.started(asking(**parameters), inputs={"n": 1}, wait_ms=5_000)
    (approval,) = (await caller.get(f"/approvals?execution_id={execution_id}")).json()["approvals"]
    return execution_id, approval["approval_id"]


async def decide(caller: Any, approval_id: str, decision: str = "approve", **rest: Any) -> Any:
    return await caller.post(f"/approvals/{approval_id}/decide", {"decision": decision, **rest})


async def test_the_inbox_shows_the_question_with_its_request(caller: Any) -> None:
    execution_id, approval_id = await asked(caller, description="Why not", options=["now", "later"], priority="high")
    body = (await caller.get("/approvals")).json()
    assert (body["total_count"], body["total"], body["has_more"]) == (1, 1, False)
    (approval,) = body["approvals"]
    assert (approval["approval_id"], approval["execution_id"], approval["status"]) == (
        approval_id,
        execution_id,
        "pending",
    )
    assert (approval["title"], approval["options"], approval["priority"]) == ("Pay?", ["now", "later"], "high")
    assert (approval["request"], approval["door"]) == ({"n": 1}, "app")
    assert (await caller.get(f"/approvals/{approval_id}")).json() == approval
    assert (await caller.get(f"/executions/{execution_id}")).json()["pending_approvals"] == [approval]


async def test_an_approval_lets_the_execution_go_on_by_its_port(caller: Any) -> None:
    execution_id, approval_id = await asked(caller)
    answer = await decide(caller, approval_id, data={"amount": 3}, reason="fine")
    assert (answer.status_code, answer.json()["status"], answer.json()["execution_id"]) == (
        200,
        "approved",
        execution_id,
    )
    shown = (await caller.get(f"/executions/{execution_id}?wait_ms=5000")).json()
    (node,) = shown["node_executions"]
    assert (shown["status"], node["output_port"], node["output_data"]["data"]) == (
        "SUCCESS",
        "confirmed",
        {"amount": 3},
    )
    assert (node["output_data"]["responder"], node["output_data"]["reason"]) == (caller.subject, "fine")
    assert (await caller.get("/approvals")).json()["total_count"] == 0
    (decided,) = (await caller.get("/approvals?status=all")).json()["approvals"]
    assert (decided["status"], decided["decision"], decided["decided_by"]) == ("approved", "approve", caller.subject)


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("approve", "approved"),
        ("APPROVED", "approved"),
        ("Yes", "approved"),
        ("reject", "denied"),
        ("Rejected", "denied"),
        ("later", "approved"),
        ("respond", "approved"),
    ],
)
async def test_every_word_has_one_meaning(caller: Any, word: str, status: str) -> None:
    _, approval_id = await asked(caller, options=["now", "later"])
    assert (await decide(caller, approval_id, word)).json()["status"] == status


async def test_the_older_form_of_an_answer_is_understood(caller: Any) -> None:
    _, approval_id = await asked(caller)
    answer = await caller.post(f"/approvals/{approval_id}/decide", {"action": "reject", "data": None})
    assert answer.json()["status"] == "denied"


async def test_a_word_nobody_knows_is_refused_and_the_question_stays_open(caller: Any) -> None:
    _, approval_id = await asked(caller)
    answer = await decide(caller, approval_id, "perhaps")
    assert (answer.status_code, answer.json()["details"]["field"]) == (400, "decision")
    assert (await caller.get(f"/approvals/{approval_id}")).json()["status"] == "pending"


async def test_the_winning_answer_may_be_repeated_and_another_is_too_late(caller: Any) -> None:
    _, approval_id = await asked(caller)
    first = await decide(caller, approval_id, "approve")
    assert (await decide(caller, approval_id, "yes")).json() == first.json()
    late = await decide(caller, approval_id, "reject")
    assert (late.status_code, late.json()["error_code"], late.json()["error"]) == (409, "CONFLICT", "conflict")


async def test_of_racing_answers_exactly_one_wins(caller: Any) -> None:
    _, approval_id = await asked(caller)
    answers = await asyncio.gather(*(decide(caller, approval_id, word) for word in ["approve", "reject"] * 10))
    won = {answer.json()["status"] for answer in answers if answer.status_code == 200}
    assert len(won) == 1
    assert {answer.status_code for answer in answers} == {200, 409}
    assert sum(answer.status_code == 200 for answer in answers) == 10


async def test_only_assignees_decide_by_subject_role_or_mail(caller: Any, make_caller: Any) -> None:
    boss = await make_caller(caller.tenant_id, subject="boss")
    _, approval_id = await asked(caller, assignees=["boss", "role:admin"])
    refused = await decide(caller, approval_id)
    assert (refused.status_code, refused.json()["error_code"]) == (403, "NOT_ASSIGNED")
    assert (await decide(boss, approval_id)).json()["decided_by"] == "boss"
    _, by_role = await asked(caller, assignees=["role:member"])
    assert (await decide(caller, by_role)).status_code == 200


async def test_an_assignee_sees_a_question_of_a_private_execution(caller: Any, make_caller: Any) -> None:
    definition = {**asking(assignees=["auditor"]), "visibility": "private"}
    execution_id = await caller.started(definition, wait_ms=5_000)
    auditor = await make_caller(caller.tenant_id, subject="auditor")
    (approval,) = (await auditor.get("/approvals")).json()["approvals"]
    assert (await auditor.get(f"/executions/{execution_id}")).status_code == 404
    assert (await decide(auditor, approval["approval_id"])).status_code == 200


async def test_the_requester_may_be_kept_from_deciding(caller: Any, make_caller: Any) -> None:
    _, approval_id = await asked(caller, forbid_requester=True)
    refused = await decide(caller, approval_id)
    assert (refused.status_code, refused.json()["error_code"]) == (403, "REQUESTER_FORBIDDEN")
    colleague = await make_caller(caller.tenant_id)
    assert (await decide(colleague, approval_id)).status_code == 200


async def test_a_reason_can_be_required(caller: Any) -> None:
    _, approval_id = await asked(caller, reason_required=True)
    for reason in ({}, {"reason": "  "}):
        refused = await decide(caller, approval_id, "reject", **reason)
        assert (refused.status_code, refused.json()["details"]["field"]) == (400, "reason")
    assert (await decide(caller, approval_id, "reject", reason="too much")).status_code == 200


@pytest.mark.parametrize(
    ("data", "wrong"),
    [
        (None, {"data.amount"}),
        ({"amount": "3"}, {"data.amount"}),
        ({"amount": True}, {"data.amount"}),
        ({"amount": 11}, {"data.amount"}),
        ({"amount": 3, "way": "boat"}, {"data.way"}),
        ({"way": "boat"}, {"data.amount", "data.way"}),
        ("3", None),
    ],
)
async def test_an_answer_must_fill_in_the_fields(caller: Any, data: Any, wrong: set[str] | None) -> None:
    fields = [
        {"name": "amount", "field_type": "number", "required": True, "validation": {"maximum": 10}},
        {"name": "way", "field_type": "select", "options": ["rail", "road"]},
    ]
    _, approval_id = await asked(caller, interaction_type="input", fields=fields)
    refused = await decide(caller, approval_id, "respond", data=data)
    assert (refused.status_code, refused.json()["error_code"]) == (400, "VALIDATION_ERROR")
    if wrong is not None:
        assert {error["field"] for error in refused.json()["details"]["errors"]} == wrong
    assert (await decide(caller, approval_id, "respond", data={"amount": 3, "way": "rail"})).status_code == 200


async def test_a_refusal_needs_no_fields(caller: Any) -> None:
    _, approval_id = await asked(caller, fields=[{"name": "amount", "required": True}])
    assert (await decide(caller, approval_id, "reject")).json()["status"] == "denied"


async def test_an_expired_question_is_gone(caller: Any) -> None:
    execution_id, approval_id = await asked(caller, timeout_seconds=1)
    shown = (await caller.get(f"/executions/{execution_id}")).json()
    async with asyncio.timeout(10):
        while shown["status"] == "WAITING":
            await asyncio.sleep(0.1)
            shown = (await caller.get(f"/executions/{execution_id}")).json()
    assert (shown["status"], shown["error"]["code"]) == ("ERROR", "HIL_TIMEOUT")
    late = await decide(caller, approval_id)
    assert (late.status_code, late.json()["error_code"]) == (410, "APPROVAL_EXPIRED")


async def test_a_question_of_a_cancelled_execution_is_gone(caller: Any) -> None:
    execution_id, approval_id = await asked(caller)
    await caller.post(f"/executions/{execution_id}/cancel")
    assert (await caller.get(f"/approvals/{approval_id}")).json()["status"] == "cancelled"
    assert (await decide(caller, approval_id)).status_code == 410


async def test_foreign_and_unknown_questions_are_alike(caller: Any, make_caller: Any) -> None:
    _, approval_id = await asked(caller)
    stranger = await make_caller()
    for answer in (
        await stranger.get(f"/approvals/{approval_id}"),
        await decide(stranger, approval_id),
        await decide(caller, "01a200d1-a110-7d1f-acf5-1ee0f56c9eda"),
    ):
        assert (answer.status_code, answer.json()["error_code"]) == (404, "NOT_FOUND")
    assert (await stranger.get("/approvals?status=all")).json()["total_count"] == 0


async def test_reading_and_deciding_have_scopes_of_their_own(caller: Any, make_caller: Any) -> None:
    _, approval_id = await asked(caller)
    reader = await make_caller(caller.tenant_id, scopes=[Scope.APPROVALS_READ])
    decider = await make_caller(caller.tenant_id, scopes=[Scope.APPROVALS_DECIDE])
    assert (await reader.get("/approvals")).json()["total_count"] == 1
    assert (await decide(reader, approval_id)).json()["required_scopes"] == [Scope.APPROVALS_DECIDE]
    assert (await decider.get("/approvals")).status_code == 403
    assert (await decide(decider, approval_id)).status_code == 200


async def test_an_unknown_status_filter_is_refused(caller: Any) -> None:
    answer = await caller.get("/approvals?status=open")
    assert (answer.status_code, answer.json()["details"]["field"]) == (400, "status")
