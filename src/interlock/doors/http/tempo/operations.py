"""Every operation of the tempo door over HTTP; watching is in ``websocket``."""

from __future__ import annotations

from typing import Any

from interlock.core.principal import Scope
from interlock.doors.http.plumbing.operation import Handler, Keeping, Operation, Policy
from interlock.doors.http.tempo import blackboard, events, metrics, registry, sessions, starting
from interlock.doors.http.tempo.callback import CALLBACK
from interlock.doors.http.tempo.door import TEMPO


def _operation(method: str, path: str, scope: Scope, summary: str, handler: Handler, **rest: Any) -> Operation:
    return Operation(
        method=method,
        path=path,
        door=TEMPO,
        summary=summary,
        handler=handler,
        policy=rest.pop("policy", Policy.TENANT),
        scope=scope,
        tags=(f"tempo {path.split('/')[1]}",),
        **rest,
    )


PUSH_EVENT = _operation(
    "POST",
    "/workflow/{session_id}/event",
    Scope.EXECUTIONS_SIGNAL,
    "Push an event",
    events.push,
    body=events.EventBody,
    aliases=events.EVENT_ALIASES,
    answer=events.EventAnswer,
    failures=(409,),
    headers=(starting.PREFER,),
    example={"event_type": "USER_CONFIRM", "payload": {"approved_by": "ann"}},
    is_keyed=True,
    is_logged=True,
)
"""The same over HTTP and from a socket's client."""

SESSIONS = (
    _operation(
        "POST",
        "/workflow/start",
        Scope.WORKFLOWS_EXECUTE,
        "Start a session",
        starting.start,
        body=starting.StartBody,
        answer=starting.StartAnswer,
        failures=(404,),
        headers=(starting.PREFER,),
        example={"flow_id": "echo_test_flow", "params": {"input": "Hello"}},
        is_keyed=True,
        is_logged=True,
    ),
    PUSH_EVENT,
    _operation(
        "GET",
        "/workflow/{session_id}/state",
        Scope.EXECUTIONS_READ,
        "Show where a session stands",
        sessions.state,
        answer=sessions.StateAnswer,
    ),
    _operation(
        "DELETE",
        "/workflow/{session_id}",
        Scope.EXECUTIONS_CANCEL,
        "Stop a session",
        sessions.stop,
        body=sessions.StopBody,
        answer=sessions.StopAnswer,
    ),
    _operation(
        "GET",
        "/workflow/{session_id}/events",
        Scope.EXECUTIONS_READ,
        "List what happened in a session",
        events.list_events,
        query=events.EventsQuery,
        answer=events.SessionEvents,
    ),
)

BLACKBOARD = (
    _operation(
        "GET",
        "/state/{session_id}",
        Scope.BLACKBOARD_READ,
        "Show a blackboard",
        blackboard.read_board,
        answer=blackboard.BoardAnswer,
    ),
    _operation(
        "GET",
        "/state/{session_id}/{key}",
        Scope.BLACKBOARD_READ,
        "Show a key of a blackboard",
        blackboard.read_key,
        answer=blackboard.KeyAnswer,
        takes_rest=True,
    ),
    _operation(
        "PUT",
        "/state/{session_id}/{key}",
        Scope.BLACKBOARD_WRITE,
        "Set a key of a blackboard",
        blackboard.write_key,
        body=blackboard.WriteBody,
        answer=blackboard.WriteAnswer,
        takes_rest=True,
        headers=(blackboard.IF_MATCH,),
        example={"value": {"data": 42}},
        failures=(409, 412),
    ),
)

REGISTRY = (
    _operation(
        "GET",
        "/registry/nodes",
        Scope.REGISTRY_READ,
        "List nodes",
        registry.list_nodes,
        answer=list[registry.NodeAnswer],
    ),
    _operation(
        "POST",
        "/registry/nodes",
        Scope.REGISTRY_WRITE,
        "Register a node",
        registry.register_node,
        body=registry.NodeBody,
        answer=registry.NodeAnswer,
        failures=(409,),
        example={"node_id": "stock", "name": "Stock", "endpoint": "http://localhost:9999/execute"},
        keeping=Keeping.ONCE,
    ),
    _operation(
        "DELETE",
        "/registry/nodes/{node_id}",
        Scope.REGISTRY_WRITE,
        "Forget a node",
        registry.delete_node,
        status=204,
    ),
    _operation(
        "GET",
        "/registry/flows",
        Scope.REGISTRY_READ,
        "List flows",
        registry.list_flows,
        answer=list[registry.FlowSummary],
    ),
    _operation(
        "POST",
        "/registry/flows",
        Scope.REGISTRY_WRITE,
        "Register a flow",
        registry.register_flow,
        body=registry.FlowBody,
        answer=registry.FlowRegistered,
        failures=(409, 422),
        example={"flow_id": "hello", "name": "Hello", "yaml_content": registry.EXAMPLE},
        keeping=Keeping.ONCE,
    ),
    _operation(
        "GET",
        "/registry/flows/{flow_id}",
        Scope.REGISTRY_READ,
        "Show a flow",
        registry.get_flow,
        answer=registry.FlowDetails,
    ),
)

METRICS = (
    _operation("GET", "/metrics", Scope.METRICS_READ, "Counters and timings", metrics.metrics, policy=Policy.LOCAL),
)

OPERATIONS: tuple[Operation, ...] = (*SESSIONS, CALLBACK, *BLACKBOARD, *REGISTRY, *METRICS)
