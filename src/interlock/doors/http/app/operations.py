"""Every operation of the app door."""

from __future__ import annotations

import dataclasses
from typing import Any

from interlock.core.principal import Scope
from interlock.doors.http.app import approvals, executions, limits, logs, streams, users, workflows
from interlock.doors.http.app.access_operations import ACCESS
from interlock.doors.http.app.approval_object import ApprovalObject
from interlock.doors.http.app.door import APP
from interlock.doors.http.app.execution_object import ExecutionObject
from interlock.doors.http.app.models import MODELS
from interlock.doors.http.app.webhooks import WEBHOOKS
from interlock.doors.http.app.workflow_object import WorkflowBody, WorkflowObject, WrappedWorkflow
from interlock.doors.http.plumbing.operation import Handler, Keeping, Operation, Policy


def _operation(method: str, path: str, scope: Scope, summary: str, handler: Handler, **rest: Any) -> Operation:
    tag = path.split("/")[1]
    return Operation(
        method=method,
        path=path,
        door=APP,
        summary=summary,
        handler=handler,
        policy=Policy.USER,
        scope=scope,
        tags=(tag,),
        **rest,
    )


_EITHER_SHAPE = (WorkflowObject, WrappedWorkflow)
_UPDATE: dict[str, Any] = {
    "body": WorkflowBody,
    "query": workflows.WorkflowQuery,
    "answer": _EITHER_SHAPE,
    "failures": (409,),
}
_STREAM: dict[str, Any] = {
    "query": streams.StreamQuery,
    "query_aliases": streams.STREAM_ALIASES,
    "media_type": "text/event-stream",
    "is_stream": True,
}
_CHANGE: dict[str, Any] = {
    "body": executions.ReasonBody,
    "answer": executions.ChangeAnswer,
    "failures": (409,),
}

WORKFLOWS = (
    _operation(
        "GET",
        "/workflows",
        Scope.WORKFLOWS_READ,
        "List workflows",
        workflows.list_workflows,
        query=workflows.WorkflowsQuery,
        answer=workflows.WorkflowList,
    ),
    _operation(
        "POST",
        "/workflows",
        Scope.WORKFLOWS_WRITE,
        "Store a workflow",
        workflows.create_workflow,
        body=WorkflowBody,
        query=workflows.WorkflowQuery,
        answer=_EITHER_SHAPE,
        is_keyed=True,
    ),
    _operation(
        "POST",
        "/workflows/validate",
        Scope.WORKFLOWS_READ,
        "Check a definition",
        workflows.validate_workflow,
        body=WorkflowBody,
        answer=workflows.Validation,
    ),
    _operation(
        "GET",
        "/workflows/node-templates",
        Scope.REGISTRY_READ,
        "List node types",
        workflows.list_node_templates,
        answer=workflows.TemplateList,
    ),
    _operation(
        "GET",
        "/workflows/{workflow_id}",
        Scope.WORKFLOWS_READ,
        "Show a workflow",
        workflows.get_workflow,
        query=workflows.WorkflowQuery,
        answer=_EITHER_SHAPE,
        failures=(304,),
    ),
    _operation(
        "PUT",
        "/workflows/{workflow_id}",
        Scope.WORKFLOWS_WRITE,
        "Change a workflow",
        workflows.update_workflow,
        **_UPDATE,
    ),
    _operation(
        "PATCH",
        "/workflows/{workflow_id}",
        Scope.WORKFLOWS_WRITE,
        "Change a workflow",
        workflows.update_workflow,
        **_UPDATE,
    ),
    _operation(
        "DELETE",
        "/workflows/{workflow_id}",
        Scope.WORKFLOWS_WRITE,
        "Delete a workflow",
        workflows.delete_workflow,
        answer=workflows.Deleted,
    ),
    _operation(
        "GET",
        "/workflows/{workflow_id}/versions",
        Scope.WORKFLOWS_READ,
        "List versions of a workflow",
        workflows.list_versions,
        answer=workflows.VersionList,
    ),
    _operation(
        "GET",
        "/workflows/{workflow_id}/stream",
        Scope.EXECUTIONS_READ,
        "Watch a workflow's executions",
        streams.stream_workflow,
        **_STREAM,
    ),
    _operation(
        "POST",
        "/workflows/{workflow_id}/execute",
        Scope.WORKFLOWS_EXECUTE,
        "Start an execution",
        executions.execute,
        body=executions.ExecuteBody,
        aliases=executions.EXECUTE_ALIASES,
        answer=executions.ExecuteAnswer,
        is_keyed=True,
        is_start=True,
        is_logged=True,
    ),
)

_HISTORY = _operation(
    "GET",
    "/workflows/{workflow_id}/history",
    Scope.EXECUTIONS_READ,
    "List a workflow's executions",
    executions.history,
    query=executions.HistoryQuery,
    answer=executions.ExecutionList,
)

EXECUTIONS = (
    _HISTORY,
    dataclasses.replace(_HISTORY, path="/workflows/{workflow_id}/executions"),
    _operation(
        "GET",
        "/executions",
        Scope.EXECUTIONS_READ,
        "List executions",
        executions.list_executions,
        query=executions.ExecutionsQuery,
        answer=executions.ExecutionList,
        failures=(404,),
    ),
    _operation(
        "GET",
        "/executions/{execution_id}",
        Scope.EXECUTIONS_READ,
        "Show an execution",
        executions.get_execution,
        query=executions.ExecutionQuery,
        answer=ExecutionObject,
        failures=(304,),
    ),
    _operation(
        "POST",
        "/executions/{execution_id}/cancel",
        Scope.EXECUTIONS_CANCEL,
        "Cancel an execution",
        executions.cancel,
        keeping=Keeping.REPEATABLE,
        **_CHANGE,
    ),
    _operation(
        "POST",
        "/executions/{execution_id}/pause",
        Scope.EXECUTIONS_SIGNAL,
        "Pause an execution",
        executions.pause,
        is_keyed=True,
        **_CHANGE,
    ),
    _operation(
        "POST",
        "/executions/{execution_id}/resume",
        Scope.EXECUTIONS_SIGNAL,
        "Resume an execution",
        executions.resume,
        is_keyed=True,
        **_CHANGE,
    ),
    _operation(
        "POST",
        "/executions/{execution_id}/signal",
        Scope.EXECUTIONS_SIGNAL,
        "Send an execution a signal",
        executions.signal,
        body=executions.SignalBody,
        answer=executions.ChangeAnswer,
        is_keyed=True,
        is_logged=True,
    ),
    _operation(
        "GET",
        "/executions/{execution_id}/stream",
        Scope.EXECUTIONS_READ,
        "Watch an execution",
        streams.stream_execution,
        **_STREAM,
    ),
    _operation(
        "GET",
        "/executions/{execution_id}/events",
        Scope.EXECUTIONS_READ,
        "List an execution's events",
        logs.list_events,
        query=logs.EventsQuery,
        answer=logs.EventList,
    ),
    _operation(
        "GET",
        "/executions/{execution_id}/artifacts",
        Scope.EXECUTIONS_READ,
        "List an execution's artifacts",
        logs.list_artifacts,
        answer=logs.ArtifactList,
    ),
    _operation(
        "GET",
        "/executions/{execution_id}/artifacts/{name}",
        Scope.EXECUTIONS_READ,
        "Download an artifact",
        logs.get_artifact,
        media_type="*/*",
    ),
    dataclasses.replace(
        _operation(
            "GET",
            "/workflows/executions/active",
            Scope.EXECUTIONS_READ,
            "List executions that have not ended",
            executions.list_active,
            query=executions.ExecutionsQuery,
            answer=executions.ExecutionList,
            failures=(404,),
        ),
        door=dataclasses.replace(APP, prefixes=("/api/v1",)),
    ),
)

APPROVALS = (
    _operation(
        "GET",
        "/approvals",
        Scope.APPROVALS_READ,
        "List approvals",
        approvals.list_approvals,
        query=approvals.ApprovalsQuery,
        answer=approvals.ApprovalList,
        failures=(404,),
    ),
    _operation(
        "GET",
        "/approvals/{approval_id}",
        Scope.APPROVALS_READ,
        "Show an approval",
        approvals.get_approval,
        answer=ApprovalObject,
    ),
    _operation(
        "POST",
        "/approvals/{approval_id}/decide",
        Scope.APPROVALS_DECIDE,
        "Decide an approval",
        approvals.decide,
        body=approvals.DecideBody,
        aliases=approvals.DECIDE_ALIASES,
        answer=approvals.DecideAnswer,
        failures=(409, 410),
        keeping=Keeping.REPEATABLE,
    ),
)

USERS = (
    _operation(
        "GET", "/users", Scope.ADMIN, "List accounts", users.list_users, query=users.UsersQuery, answer=users.UserList
    ),
    _operation(
        "POST",
        "/users",
        Scope.ADMIN,
        "Make an account",
        users.create_user,
        body=users.CreateUserBody,
        answer=users.UserObject,
        status=201,
        keeping=Keeping.ONCE,
        failures=(409,),
    ),
    _operation(
        "PUT",
        "/users/{user}",
        Scope.ADMIN,
        "Change an account",
        users.change_user,
        body=users.ChangeUserBody,
        answer=users.UserObject,
    ),
)

LIMITS = (
    _operation(
        "GET", "/limits", Scope.HEALTH_CHECK, "Show the caller's limits", limits.show_limits, answer=limits.LimitsObject
    ),
)

OPERATIONS: tuple[Operation, ...] = (*LIMITS, *WORKFLOWS, *EXECUTIONS, *APPROVALS, *USERS, *ACCESS, *MODELS, *WEBHOOKS)
