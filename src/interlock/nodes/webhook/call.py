"""What is sent to a webhook, and how its answer is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from interlock.core.callback import ERROR, NEED_USER_INPUT, TARGET, NodeResult, is_node_result, read_node_result
from interlock.core.errors import InterlockError
from interlock.core.webhook import sign, traceparent
from interlock.kit import strict_json
from interlock.ports.egress import EgressResponse
from interlock.ports.node import Attempt, Done, NodeFailed, Suspend
from interlock.ports.webhooks import WebhookCall

MAX_SECONDS = 2_592_000.0
_PASSING = frozenset((408, 429))


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to call: a registered node or an address. ``seconds`` is how long a callback may take, if it says so."""

    endpoint: str | None
    node_id: str | None
    seconds: float | None


def read_target(attempt: Attempt) -> Target:
    """The target an attempt names. Raises NodeFailed PARAMETER_INVALID."""
    told = attempt.parameters.get(TARGET)
    endpoint, node_id = (told.get("endpoint"), told.get("node_id")) if isinstance(told, dict) else (None, None)
    if not isinstance(told, dict) or isinstance(endpoint, str) == isinstance(node_id, str):
        message = f"The parameter {TARGET} must be an object with either the endpoint to call or a registered node_id"
        raise NodeFailed("PARAMETER_INVALID", message)
    seconds = told.get("timeout_seconds")
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if seconds is not None and (not is_number or not 0 < seconds <= MAX_SECONDS):
        message = f"{TARGET}.timeout_seconds must be above 0 and at most {MAX_SECONDS:.0f}, not {str(seconds)[:40]}"
        raise NodeFailed("PARAMETER_INVALID", message)
    return Target(endpoint, node_id, seconds)


def body_of(attempt: Attempt, call: WebhookCall) -> bytes:
    """The body of the call: exactly these fields, so that nothing else ever goes out."""
    return strict_json.encode(
        {
            "session_id": call.session_id,
            "step": attempt.node_id,
            "params": {name: value for name, value in attempt.parameters.items() if name != TARGET},
            "payload": attempt.payload,
            "callback_url": call.callback_url,
            "callback_token": call.callback_token,
            "tenant_id": attempt.tenant_id,
            "trace_id": attempt.trace_id,
            "attempt": attempt.attempt,
            "deadline": call.deadline.isoformat().replace("+00:00", "Z"),
        }
    )


def headers_of(attempt: Attempt, call: WebhookCall, body: bytes) -> dict[str, str]:
    """Its headers: those of the registration, and ours in place of any of the same name."""
    ours = {
        "content-type": "application/json",
        "idempotency-key": attempt.effect_key,
        **sign(call.secrets, f"msg_{attempt.effect_key}", call.now, body),
    }
    trace = traceparent(attempt.trace_id, attempt.effect_key[:16])
    if trace is not None:
        ours["traceparent"] = trace
    return {name: value for name, value in call.headers.items() if name.lower() not in ours} | ours


def read_reply(answer: EgressResponse, call: WebhookCall) -> Done | Suspend:
    """The result if the answer is one, else the wait for the callback. Raises NodeFailed for a refusal."""
    if not 200 <= answer.status < 300:
        is_passing = answer.status in _PASSING or answer.status >= 500
        details = {"status_code": answer.status}
        raise NodeFailed("HTTP_STATUS", f"The webhook answered {answer.status}", retryable=is_passing, details=details)
    told = _json(answer) if answer.status == 200 else None
    if is_node_result(told):
        return _done(_result(told))
    return Suspend(waits_for="callback", wake_at=call.deadline)


def _json(answer: EgressResponse) -> Any:
    if answer.truncated:
        return None
    try:
        return strict_json.decode(answer.body)
    except strict_json.StrictJsonError:
        return None  # it took the call and says no more


def _result(told: Any) -> NodeResult:
    try:
        return read_node_result(told)
    except InterlockError as error:
        raise NodeFailed("WEBHOOK_ANSWER_INVALID", error.message) from error


def _done(result: NodeResult) -> Done:
    if result.status == ERROR:
        raise NodeFailed("WEBHOOK_ERROR", result.error_message[:4000] or "The webhook answered that it failed")
    return Done(
        output=result.result,
        blackboard=result.artifacts,
        raised=tuple(result.next_events),
        ui_schema=result.ui_schema,
        needs_input=result.status == NEED_USER_INPUT,
    )
