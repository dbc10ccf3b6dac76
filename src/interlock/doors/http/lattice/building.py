"""Build a workflow by calls: tasks, what they do, and the edges between them."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from interlock.core.errors import invalid
from interlock.doors.http.lattice.task_body import SaveBody, wish_of
from interlock.doors.http.plumbing.operation import Call, Reply
from interlock.doors.http.plumbing.replies import JsonReply

Name = Annotated[str, Meta(max_length=200)]
Id = Annotated[str, Meta(max_length=200)]


class Done(msgspec.Struct, kw_only=True):
    status: str = "success"


class CreateBody(msgspec.Struct, kw_only=True):
    name: Name | None = None


class WorkflowAnswer(Done, kw_only=True):
    workflow_id: str


class TaskAnswer(Done, kw_only=True):
    task_id: str


class AddTaskBody(msgspec.Struct, kw_only=True):
    """Without a name the task is called by its number."""

    workflow_id: Id
    task_type: str = "code"
    task_name: Name | None = None


class EdgeBody(msgspec.Struct, kw_only=True):
    workflow_id: Id
    source_task_id: Id
    target_task_id: Id


class TaskBody(msgspec.Struct, kw_only=True):
    workflow_id: Id
    task_id: Id


class ListedTask(msgspec.Struct, kw_only=True):
    id: str
    name: str


class TasksAnswer(Done, kw_only=True):
    """All tasks in the order they were added."""

    tasks: list[ListedTask]


async def create_workflow(call: Call[CreateBody, None]) -> Reply:
    """Begin a workflow."""
    draft_id = await call.services.drafts.create(call.principal, call.body.name or "")
    call.acts_on(str(draft_id))
    return JsonReply(WorkflowAnswer(workflow_id=str(draft_id)))


async def add_task(call: Call[AddTaskBody, None]) -> Reply:
    """Reserve a task."""
    body = call.body
    require_type(body.task_type, "code")
    call.acts_on(body.workflow_id)
    task_id = await call.services.drafts.add_task(call.principal, body.workflow_id, body.task_name or None)
    return JsonReply(TaskAnswer(task_id=task_id))


async def save_task(call: Call[SaveBody, None]) -> Reply:
    """Say what a task does."""
    return await _save(call, with_edges=False)


async def save_task_and_add_edge(call: Call[SaveBody, None]) -> Reply:
    """Say what a task does, and draw the edges of its references."""
    return await _save(call, with_edges=True)


async def _save(call: Call[SaveBody, None], *, with_edges: bool) -> Reply:
    body = call.body
    call.acts_on(body.workflow_id)
    await call.services.drafts.save_task(
        call.principal, body.workflow_id, body.task_id, wish_of(body), with_edges=with_edges
    )
    return JsonReply(Done())


async def add_edge(call: Call[EdgeBody, None]) -> Reply:
    """Put a task behind another one; an edge that is there stays."""
    body = call.body
    call.acts_on(body.workflow_id)
    await call.services.drafts.draw_edge(call.principal, body.workflow_id, body.source_task_id, body.target_task_id)
    return JsonReply(Done())


async def del_edge(call: Call[EdgeBody, None]) -> Reply:
    """Delete an edge, if it is there."""
    body = call.body
    call.acts_on(body.workflow_id)
    await call.services.drafts.delete_edge(call.principal, body.workflow_id, body.source_task_id, body.target_task_id)
    return JsonReply(Done())


async def del_task(call: Call[TaskBody, None]) -> Reply:
    """Delete a task with its edges."""
    body = call.body
    call.acts_on(body.workflow_id)
    await call.services.drafts.delete_task(call.principal, body.workflow_id, body.task_id)
    return JsonReply(TaskAnswer(task_id=body.task_id))


async def get_workflow_tasks(call: Call[None, None]) -> Reply:
    """List the tasks of a workflow; an unknown one has none."""
    found = await call.services.drafts.list_tasks(call.principal, call.path["workflow_id"])
    return JsonReply(TasksAnswer(tasks=[ListedTask(id=task_id, name=name) for task_id, name in found]))


def require_type(told: str, wanted: str) -> None:
    """Raise INVALID for any other type of task than the one this call is for."""
    if told != wanted:
        raise invalid("WORKFLOW_INVALID", f"Invalid task type: {told[:64]}", field="task_type")
