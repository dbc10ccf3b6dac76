"""Node bodies of LangGraph: they are added when they are decorated, and called one by one."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from interlock.core.errors import invalid
from interlock.doors.http.lattice.building import TaskAnswer, require_type
from interlock.doors.http.lattice.task_body import CodeBody, pickle_of, read_base64, resources_of
from interlock.doors.http.plumbing.idempotency import REPLAYED, key_of
from interlock.doors.http.plumbing.operation import Call, Reply
from interlock.doors.http.plumbing.racing import Racing
from interlock.doors.http.plumbing.replies import PRIVATE, JsonReply
from interlock.services.drafts.call import CallWish
from interlock.services.drafts.tasks import TaskWish


class AddBody(CodeBody, kw_only=True):
    task_type: str = "langgraph"


class CallBody(msgspec.Struct, kw_only=True):
    """``args`` is a pickled tuple and ``kwargs`` a pickled dict, both as base64."""

    workflow_id: Annotated[str, Meta(max_length=200)]
    task_id: Annotated[str, Meta(max_length=200)]
    args: str
    kwargs: str


class CallAnswer(msgspec.Struct, kw_only=True):
    status: str = "success"
    result: Any
    run_id: str


async def add_langgraph_task(call: Call[AddBody, None]) -> Reply:
    """Add a task that is called one by one."""
    body = call.body
    require_type(body.task_type, "langgraph")
    call.acts_on(body.workflow_id)
    pickle = pickle_of(body)
    if pickle is None:
        raise invalid("WORKFLOW_INVALID", "Either code_str or serialized_code is required", field="serialized_code")
    wish = TaskWish(form="pickle", content=pickle, name=body.task_name or None, resources=resources_of(body))
    task_id = await call.services.drafts.add_task.callable(call.principal, body.workflow_id, wish)
    return JsonReply(TaskAnswer(task_id=task_id))


async def run_langgraph_task(call: Call[CallBody, None]) -> Reply:
    """Call a task and wait for what it gives; a client who leaves cancels the call."""
    body = call.body
    call.acts_on(body.workflow_id)
    wish = CallWish(
        draft_id=body.workflow_id,
        task_id=body.task_id,
        args=read_base64("args", body.args),
        kwargs=read_base64("kwargs", body.kwargs),
        trace_id=call.trace_id,
        key=key_of(call),
    )

    async def make() -> Reply:
        called = await call.services.drafts.call(call.principal, wish)
        headers = (*PRIVATE, *REPLAYED) if called.is_replay else PRIVATE
        return JsonReply(CallAnswer(result=called.result, run_id=called.run_id), headers=headers)

    return Racing(call, make)
