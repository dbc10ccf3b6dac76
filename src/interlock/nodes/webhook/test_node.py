"""What a webhook node sends, and what it makes of the answers."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from standardwebhooks import Webhook as Verifier

from interlock.core.errors import ErrorKind, InterlockError
from interlock.nodes.testing import WEBHOOK_AT, WEBHOOK_SECRET, KeptServices, ScriptedEgress, make_attempt, run_node
from interlock.nodes.webhook.node import NODE
from interlock.ports.egress import EgressResponse
from interlock.ports.node import Done, NodeFailed, Suspend

TARGET = {"endpoint": "https://svc.example/run", "timeout_seconds": 600}


def answer(status: int, body: object = None, *, truncated: bool = False) -> EgressResponse:
    return EgressResponse(status, {}, b"" if body is None else json.dumps(body).encode(), truncated)


def run(*answers: EgressResponse | Exception, **parameters: object) -> tuple[object, ScriptedEgress]:
    egress = ScriptedEgress(list(answers))
    outcome = run_node(NODE, {"_webhook": TARGET, "n": 1, **parameters}, KeptServices(egress))
    return outcome, egress


def test_a_call_carries_exactly_the_promised_fields() -> None:
    _, egress = run(answer(202))
    call = egress.calls[0]
    body = json.loads(call["body"])
    assert body == {
        "session_id": "session",
        "step": "task",
        "params": {"n": 1},
        "payload": None,
        "callback_url": "http://interlock.test/api/workflow/1/callback?ct=token",
        "callback_token": "token",
        "tenant_id": "tenant",
        "trace_id": "trace",
        "attempt": 1,
        "deadline": "2026-11-22T12:10:00Z",
    }
    assert (call["method"], call["url"], call["timeout"]) == ("POST", "https://svc.example/run", 30)
    assert not call["follow_redirects"]


def test_a_call_is_signed_for_any_client_of_standard_webhooks() -> None:
    _, egress = run(answer(202))
    headers, body = egress.calls[0]["headers"], egress.calls[0]["body"]
    verifier = Verifier(WEBHOOK_SECRET)
    signed = verifier.sign(headers["webhook-id"], WEBHOOK_AT, body.decode())
    assert headers["webhook-signature"] == signed
    assert headers["webhook-timestamp"] == str(int(WEBHOOK_AT.timestamp()))


def test_all_attempts_of_a_task_have_one_key_and_one_message_id() -> None:
    _, egress = run(answer(202))
    headers = egress.calls[0]["headers"]
    key = make_attempt(NODE, {}).effect_key
    assert headers["idempotency-key"] == key
    assert headers["webhook-id"] == f"msg_{key}"


def test_a_registered_node_is_called_where_it_was_registered_with_its_headers() -> None:
    _, egress = run(answer(202), _webhook={"node_id": "small"})
    assert egress.calls[0]["url"] == "https://small.example/run"
    assert egress.calls[0]["headers"]["X-Kept"] == "small"
    assert "_webhook" not in json.loads(egress.calls[0]["body"])["params"]


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_a_2xx_without_a_result_waits_for_the_callback_until_the_deadline(status: int) -> None:
    outcome, _ = run(answer(status, {"status": "queued"}))
    assert outcome == Suspend(waits_for="callback", wake_at=WEBHOOK_AT + timedelta(seconds=600))


def test_a_result_of_a_status_that_is_not_200_is_no_result() -> None:
    assert isinstance(run(answer(202, {"status": "success", "result": 1}))[0], Suspend)
    assert isinstance(run(answer(200, {"status": "success"}, truncated=True))[0], Suspend)


def test_a_200_with_a_result_is_done_at_once() -> None:
    told = {
        "status": "success",
        "result": {"x": 1},
        "artifacts": {"a": 2},
        "next_events": ["GO"],
        "ui_schema": {"components": []},
    }
    outcome, _ = run(answer(200, told))
    assert outcome == Done(output={"x": 1}, blackboard={"a": 2}, raised=("GO",), ui_schema={"components": []})


def test_a_webhook_may_ask_the_user() -> None:
    outcome, _ = run(answer(200, {"status": "need_user_input", "ui_schema": {"components": []}}))
    assert outcome == Done(ui_schema={"components": []}, needs_input=True)


@pytest.mark.parametrize(("status", "retryable"), [(408, True), (429, True), (500, True), (503, True)])
def test_passing_failures_are_retryable(status: int, retryable: bool) -> None:
    with pytest.raises(NodeFailed) as failed:
        run(answer(status))
    assert (failed.value.code, failed.value.retryable) == ("HTTP_STATUS", retryable)


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 404, 410, 422])
def test_other_refusals_and_redirects_are_final(status: int) -> None:
    with pytest.raises(NodeFailed) as failed:
        run(answer(status))
    assert (failed.value.code, failed.value.retryable) == ("HTTP_STATUS", False)


def test_an_error_told_by_the_webhook_fails_the_step() -> None:
    with pytest.raises(NodeFailed) as failed:
        run(answer(200, {"status": "error", "error_message": "no stock"}))
    assert (failed.value.code, failed.value.message, failed.value.retryable) == ("WEBHOOK_ERROR", "no stock", False)


@pytest.mark.parametrize("name", ["_session_state", "signal:abort", ""])
def test_a_webhook_cannot_set_what_belongs_to_the_server(name: str) -> None:
    with pytest.raises(NodeFailed) as failed:
        run(answer(200, {"status": "success", "artifacts": {name: 1}}))
    assert failed.value.code == "WEBHOOK_ANSWER_INVALID"


def test_a_blocked_address_is_told_as_it_is() -> None:
    blocked = InterlockError(ErrorKind.DENIED, "EGRESS_BLOCKED", "not public")
    with pytest.raises(InterlockError) as refused:
        run(blocked)
    assert (refused.value.code, refused.value.retryable) == ("EGRESS_BLOCKED", False)


@pytest.mark.parametrize(
    "target",
    [
        None,
        {},
        {"endpoint": 1},
        {"endpoint": "https://x", "node_id": "y"},
        {"endpoint": "https://x", "timeout_seconds": 0},
    ],
)
def test_a_target_that_cannot_be_read_fails_the_step(target: object) -> None:
    with pytest.raises(NodeFailed) as failed:
        run(answer(202), _webhook=target)
    assert failed.value.code == "PARAMETER_INVALID"
