"""The callback of a webhook node: its result, and the proof that it comes from there."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from interlock.core.callback import STATUSES, NodeResult, is_node_result, read_node_result
from interlock.core.principal import Scope
from interlock.core.webhook import ID, SIGNATURE, TIMESTAMP
from interlock.doors.http.plumbing.described import described
from interlock.doors.http.plumbing.idempotency import read_key
from interlock.doors.http.plumbing.operation import Call, HeaderField, Operation, Policy, Reply
from interlock.doors.http.plumbing.replies import NO_STORE, JsonReply
from interlock.doors.http.tempo.door import TEMPO, session_state
from interlock.services.callbacks.prove import Evidence
from interlock.services.callbacks.receive import IGNORED, RECEIVED, Callback, Taken

_NOBODY = UUID(int=0)
"""An execution that never was: what an id stands for that is none."""
_NOT_OF_RESULT = frozenset({"step", "callback_id", "tenant_id"})


class CallbackQuery(msgspec.Struct, kw_only=True):
    """``ct`` is the token of the ``callback_url``; it may come as ``X-Callback-Token`` too."""

    ct: Annotated[str, Meta(max_length=2048)] | None = None


class CallbackBody(msgspec.Struct, kw_only=True):
    """The result of a step: a value, or an object with a ``status`` of its own and the other fields beside it.

    ``tenant_id`` may repeat what the call said; another one is refused.
    """

    step: Annotated[str, Meta(min_length=1, max_length=512)]
    result: Any = None
    status: Annotated[str, described(enum=[*STATUSES])] | None = None
    ui_schema: Any = None
    artifacts: dict[str, Any] | None = None
    next_events: list[str] | None = None
    error_message: str | None = None
    callback_id: Annotated[str, Meta(max_length=255)] | None = None
    tenant_id: str | None = None


class CallbackAnswer(msgspec.Struct, kw_only=True):
    """``received`` moved the session, ``duplicate`` had done so before, ``ignored`` (with a ``reason``) never will."""

    status: str
    session_id: str
    new_state: str | UnsetType | None = UNSET
    session_state: str | UnsetType = UNSET
    result: Any = UNSET
    reason: str | UnsetType = UNSET


async def receive(call: Call[CallbackBody, CallbackQuery]) -> Reply:
    """Take the result of a webhook node; the session has moved before the answer."""
    answer = _answer_of(call.body)
    evidence = Evidence(
        principal=call.principal,
        token=call.query.ct or call.header("x-callback-token"),
        headers={name: value for name in (ID, TIMESTAMP, SIGNATURE) if (value := call.header(name)) is not None},
        body=call.raw_body,
        tenant_id=call.body.tenant_id,
    )
    callback = Callback(step=call.body.step, answer=answer, callback_id=call.body.callback_id or read_key(call) or "")
    execution_id = await _execution_id(call)
    taken = await call.services.webhooks.receive(execution_id, callback, evidence, call.trace_id)
    return JsonReply(_told(call.path["session_id"], taken, answer), headers=NO_STORE)


async def _execution_id(call: Call[Any, Any]) -> UUID:
    """The execution of the session. An id that is none stands for nothing, which is refused like a wrong proof."""
    text = call.path["session_id"]
    try:
        return UUID(text.removeprefix("run_").removeprefix("sess_"))
    except ValueError:
        if call.principal.kind == "anonymous":
            return _NOBODY
    if not _is_proved_otherwise(call):
        call.principal.require(Scope.EXECUTIONS_SIGNAL)
    return (await call.services.find_session(call.principal, text)).execution_id


def _is_proved_otherwise(call: Call[Any, CallbackQuery]) -> bool:
    return bool(call.query.ct or call.header("x-callback-token") or call.header(SIGNATURE))


def _answer_of(body: CallbackBody) -> NodeResult:
    """The result of the node: what ``result`` says itself if it has a ``status``, else what is beside it. Raises RULE.

    What such a result leaves out is taken from beside it.
    """
    beside = {name: value for name, value in msgspec.structs.asdict(body).items() if name not in _NOT_OF_RESULT}
    if is_node_result(body.result):
        return read_node_result({**beside, "result": None, **body.result})
    return read_node_result(beside)


def _told(session_id: str, taken: Taken, answer: NodeResult) -> CallbackAnswer:
    if taken.status == IGNORED:
        return CallbackAnswer(status=taken.status, session_id=session_id, reason=taken.reason)
    position = taken.position
    told = CallbackAnswer(
        status=taken.status,
        session_id=session_id,
        new_state=position.active[0] if position.active else None,
        session_state=session_state(position.status, position.waiting_reason),
    )
    if taken.status == RECEIVED:
        told.result = answer.result
    return told


CALLBACK = Operation(
    method="POST",
    path="/workflow/{session_id}/callback",
    door=TEMPO,
    summary="Call back with the result of a webhook",
    handler=receive,
    policy=Policy.PROOF,
    scope=Scope.EXECUTIONS_SIGNAL,
    body=CallbackBody,
    query=CallbackQuery,
    answer=CallbackAnswer,
    failures=(404,),
    headers=(
        HeaderField("X-Callback-Token", "The token of the call; the same as `ct`.", {"type": "string"}),
        *(HeaderField(name, "Of Standard Webhooks.", {"type": "string"}) for name in (ID, TIMESTAMP, SIGNATURE)),
    ),
    example={"step": "call", "result": {"ok": True}},
    is_keyed=True,
    is_logged=True,
    tags=("tempo workflow",),
)
