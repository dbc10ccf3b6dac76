"""Every operation of the runs door that is built: runs are read, cancelled and run again, whatever door began them."""

from __future__ import annotations

from typing import Any

from interlock.core.principal import Scope
from interlock.doors.http.plumbing.operation import Handler, Keeping, Operation, Policy
from interlock.doors.http.runs import reading, steering
from interlock.doors.http.runs.door import RUNS
from interlock.doors.http.runs.run_object import RunDetail


def _operation(method: str, path: str, scope: Scope, summary: str, handler: Handler, **rest: Any) -> Operation:
    return Operation(
        method=method,
        path=path,
        door=RUNS,
        summary=summary,
        handler=handler,
        policy=Policy.LOCAL,
        scope=scope,
        tags=("runs",),
        **rest,
    )


_BYTES: dict[str, Any] = {"media_type": "*/*"}

OPERATIONS: tuple[Operation, ...] = (
    _operation(
        "GET",
        "",
        Scope.EXECUTIONS_READ,
        "List runs",
        reading.list_runs,
        query=reading.RunsQuery,
        answer=reading.RunList,
    ),
    _operation(
        "GET",
        "/{run_id}",
        Scope.EXECUTIONS_READ,
        "Show a run with its tasks",
        reading.get_run,
        query=reading.RunQuery,
        answer=RunDetail,
        failures=(304, 404),
    ),
    _operation(
        "GET",
        "/{run_id}/tasks",
        Scope.EXECUTIONS_READ,
        "List the tasks of a run",
        reading.list_tasks,
        answer=reading.RunTasks,
        failures=(404,),
    ),
    _operation(
        "GET",
        "/{run_id}/events",
        Scope.EXECUTIONS_READ,
        "List what happened to a run",
        reading.list_events,
        query=reading.RunEventsQuery,
        answer=reading.RunEvents,
        failures=(404,),
    ),
    _operation(
        "GET",
        "/{run_id}/logs",
        Scope.EXECUTIONS_READ,
        "Read what the tasks of a run printed",
        reading.read_log,
        query=reading.RunLogQuery,
        answer=reading.RunLog,
        failures=(404,),
    ),
    _operation(
        "GET",
        "/{run_id}/artifacts",
        Scope.EXECUTIONS_READ,
        "List the files that a run made",
        reading.list_artifacts,
        answer=reading.RunArtifacts,
        failures=(404,),
    ),
    _operation(
        "GET",
        "/{run_id}/artifacts/{name}",
        Scope.EXECUTIONS_READ,
        "Download a file that a run made",
        reading.get_artifact,
        failures=(304, 404),
        **_BYTES,
    ),
    _operation(
        "GET",
        "/{run_id}/values/{sha256}",
        Scope.EXECUTIONS_READ,
        "Download a value that a run was given or its tasks gave",
        reading.get_value,
        failures=(304, 404),
        **_BYTES,
    ),
    _operation(
        "POST",
        "/{run_id}/cancel",
        Scope.EXECUTIONS_CANCEL,
        "Cancel a run",
        steering.cancel,
        body=steering.CancelRunBody,
        answer=steering.CancelRunAnswer,
        failures=(404,),
        keeping=Keeping.REPEATABLE,
    ),
    _operation(
        "POST",
        "/{run_id}/retry",
        Scope.WORKFLOWS_EXECUTE,
        "Run it once more",
        steering.retry,
        body=steering.RetryRunBody,
        answer=steering.RetryRunAnswer,
        failures=(404, 409, 503),
        is_start=True,
        keeping=Keeping.ONCE,
        is_logged=True,
    ),
)
