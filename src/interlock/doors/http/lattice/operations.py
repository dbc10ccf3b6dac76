"""Every operation of the lattice door over HTTP; watching is in ``websocket``.

Calls that carry code need ``code:write`` as well. Their service asks for it, behind whether code runs here at all, so
that everybody hears that first.
"""

from __future__ import annotations

from typing import Any

from interlock.core.principal import Scope
from interlock.doors.http.lattice import building, calling, running, workers
from interlock.doors.http.lattice.door import LATTICE
from interlock.doors.http.lattice.task_body import SaveBody
from interlock.doors.http.plumbing.operation import Handler, Keeping, Operation, Policy

MAX_CODE_BODY = 16 * 1_048_576
"""Bytes of a body that carries code."""

_CODE = {"max_body": MAX_CODE_BODY}
_ONCE: dict[str, Any] = {"keeping": Keeping.ONCE}


def _operation(method: str, path: str, scope: Scope, summary: str, handler: Handler, **rest: Any) -> Operation:
    return Operation(
        method=method,
        path=path,
        door=LATTICE,
        summary=summary,
        handler=handler,
        policy=Policy.LOCAL,
        scope=scope,
        tags=("lattice",),
        **rest,
    )


_EXAMPLE_TASK = {
    "workflow_id": "0199…",
    "task_id": "0199…",
    "code_str": "def inc(params):\n    return {'y': params['x'] + 1}",
    "task_input": {"input_params": {"1": {"key": "x", "input_schema": "from_user", "data_type": "int", "value": 41}}},
    "task_output": {"output_params": {"1": {"key": "y", "data_type": "int"}}},
}

BUILDING = (
    _operation(
        "POST",
        "/create_workflow",
        Scope.WORKFLOWS_WRITE,
        "Begin a workflow",
        building.create_workflow,
        body=building.CreateBody,
        answer=building.WorkflowAnswer,
        example={"name": "nightly"},
        **_ONCE,
    ),
    _operation(
        "POST",
        "/add_task",
        Scope.WORKFLOWS_WRITE,
        "Reserve a task",
        building.add_task,
        body=building.AddTaskBody,
        answer=building.TaskAnswer,
        failures=(404,),
        **_ONCE,
    ),
    _operation(
        "POST",
        "/save_task",
        Scope.WORKFLOWS_WRITE,
        "Say what a task does",
        building.save_task,
        body=SaveBody,
        answer=building.Done,
        failures=(404, 413),
        example=_EXAMPLE_TASK,
        keeping=Keeping.REPEATABLE,
        **_CODE,
    ),
    _operation(
        "POST",
        "/save_task_and_add_edge",
        Scope.WORKFLOWS_WRITE,
        "Say what a task does, and draw the edges of its references",
        building.save_task_and_add_edge,
        body=SaveBody,
        answer=building.Done,
        failures=(404, 413),
        example=_EXAMPLE_TASK,
        keeping=Keeping.REPEATABLE,
        **_CODE,
    ),
    _operation(
        "POST",
        "/add_edge",
        Scope.WORKFLOWS_WRITE,
        "Put a task behind another one",
        building.add_edge,
        body=building.EdgeBody,
        answer=building.Done,
        failures=(404,),
        keeping=Keeping.REPEATABLE,
    ),
    _operation(
        "POST",
        "/del_edge",
        Scope.WORKFLOWS_WRITE,
        "Delete an edge",
        building.del_edge,
        body=building.EdgeBody,
        answer=building.Done,
        failures=(404,),
        keeping=Keeping.REPEATABLE,
    ),
    _operation(
        "POST",
        "/del_task",
        Scope.WORKFLOWS_WRITE,
        "Delete a task with its edges",
        building.del_task,
        body=building.TaskBody,
        answer=building.TaskAnswer,
        failures=(404,),
        **_ONCE,
    ),
    _operation(
        "GET",
        "/get_workflow_tasks/{workflow_id}",
        Scope.EXECUTIONS_READ,
        "List the tasks of a workflow",
        building.get_workflow_tasks,
        answer=building.TasksAnswer,
    ),
)

RUNNING = (
    _operation(
        "POST",
        "/run_workflow",
        Scope.WORKFLOWS_EXECUTE,
        "Run a workflow",
        running.run_workflow,
        body=running.RunBody,
        answer=running.RunAnswer,
        failures=(404, 409),
        is_keyed=True,
    ),
    _operation(
        "POST",
        "/cancel_run",
        Scope.EXECUTIONS_CANCEL,
        "Cancel a run",
        running.cancel_run,
        body=running.CancelBody,
        answer=running.CancelAnswer,
        failures=(404,),
    ),
    _operation(
        "POST",
        "/add_langgraph_task",
        Scope.WORKFLOWS_WRITE,
        "Add a task that is called one by one",
        calling.add_langgraph_task,
        body=calling.AddBody,
        answer=building.TaskAnswer,
        failures=(404, 413),
        **_CODE,
        **_ONCE,
    ),
    _operation(
        "POST",
        "/run_langgraph_task",
        Scope.WORKFLOWS_EXECUTE,
        "Call a task and wait for what it gives",
        calling.run_langgraph_task,
        body=calling.CallBody,
        answer=calling.CallAnswer,
        failures=(404, 413, 500, 504),
        is_keyed=True,
        **_CODE,
    ),
)

WORKERS = (
    *(
        _operation(
            "POST",
            path,
            Scope.WORKERS_WRITE,
            "Announce a machine that tasks may run on",
            workers.connect_worker,
            body=workers.ConnectBody,
            answer=workers.ConnectAnswer,
            example={"node_ip": "192.168.1.100", "node_id": "node-1", "resources": {"cpu": 8, "cpu_mem": 16384}},
            keeping=Keeping.REPEATABLE,
        )
        for path in ("/connect_worker", "/start_worker")
    ),
    _operation(
        "POST",
        "/disconnect_worker",
        Scope.WORKERS_WRITE,
        "Let a machine have no new tasks",
        workers.disconnect_worker,
        body=workers.DisconnectBody,
        answer=workers.DisconnectAnswer,
        failures=(404,),
        keeping=Keeping.REPEATABLE,
    ),
    _operation(
        "GET",
        "/get_workers",
        Scope.WORKERS_WRITE,
        "List the machines that tasks run on",
        workers.get_workers,
        answer=workers.WorkersAnswer,
    ),
    _operation(
        "POST",
        "/get_head_ray_port",
        Scope.WORKERS_WRITE,
        "Say where the head of Ray listens",
        workers.get_head_ray_port,
        answer=workers.HeadAnswer,
    ),
)

OPERATIONS: tuple[Operation, ...] = (*BUILDING, *RUNNING, *WORKERS)
