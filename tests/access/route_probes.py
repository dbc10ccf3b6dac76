"""Requests of every operation, made from the route table: a new route is probed without anybody thinking of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from interlock.doors.http.app_factory import all_operations
from interlock.doors.http.plumbing.operation import Operation, Policy
from interlock.kit.ids import RandomIds

OPERATIONS = all_operations(lambda: b"")
PARAMETER = re.compile(r"{(\w+)}")
OF_NOBODY = {"/docs/assets/{name}", "/v1/models/{model}"}
"""Paths with a name in them that is no tenant's."""

REFERENCES = {"inherit_session", "cursor", "subject", "resource"}
"""Fields of bodies and queries that name something, beside all whose names end in ``_id``."""
NO_REFERENCES = {"event_id", "signal_id", "callback_id", "client_id"}
"""They end so and are the caller's own word for its request."""

BODIES: dict[str, Any] = {
    "AddBody": {"workflow_id": "own", "task_name": "f", "serialized_code": "gARLAS4="},
    "AddTaskBody": {"workflow_id": "own"},
    "BudgetBody": {"cap_usd": 3.5},
    "CancelBody": {"run_id": "own"},
    "CancelRunBody": {"reason": "own"},
    "CapBody": {"cap_usd": 3.5},
    "CallBody": {"workflow_id": "own", "task_id": "own", "args": "gAQpLg==", "kwargs": "gAR9Lg=="},
    "CallbackBody": {"step": "a", "result": 1},
    "ChangeBody": {},
    "ChangeTenantBody": {"title": "Own"},
    "ChangeUserBody": {"disabled": True},
    "ChatBody": {"model": "scripted", "messages": [{"role": "user", "content": "hello"}]},
    "ConnectBody": {
        "node_ip": "10.0.0.9",
        "node_id": "own",
        "resources": {"cpu": 1, "cpu_mem": 1, "gpu_resource": {}},
    },
    "CreateBody": {"name": "Own"},
    "CreateTenantBody": {"name": "own-tenant"},
    "CreateUserBody": {"email": "taken-by-nobody@example.org", "password": "correct-horse-battery"},
    "DecideBody": {"decision": "approve"},
    "DisconnectBody": {"node_id": "own"},
    "EdgeBody": {"workflow_id": "own", "source_task_id": "a", "target_task_id": "b"},
    "EmbeddingBody": {"texts": ["hello"]},
    "EmbeddingsBody": {"model": "scripted", "input": "hello"},
    "EventBody": {"event_type": "OK"},
    "ExecuteBody": {"inputs": {"word": "own"}},
    "FlowBody": {
        "flow_id": "own-flow",
        "name": "Own",
        "yaml_content": "states: [a]\nstate_node_map: {a: builtin://echo}",
    },
    "KeyBody": {"client_name": "own", "scopes": ["tools:read"]},
    "NodeBody": {"node_id": "own-node", "endpoint": "http://example.com/own", "name": "Own"},
    "ReasonBody": {"reason": "why not"},
    "ResponsesBody": {"model": "scripted", "input": "hello"},
    "RetryRunBody": {},
    "RotateBody": {},
    "RunBody": {"workflow_id": "own"},
    "SaveBody": {
        "workflow_id": "own",
        "task_id": "own",
        "task_input": {},
        "task_output": {},
        "code_str": "def f(params):\n    return {}",
    },
    "SecretBody": {},
    "SignUpBody": {},
    "SignalBody": {"name": "go"},
    "StartBody": {"node_id": "echo", "params": {"word": "own"}},
    "StopBody": {},
    "SwitchBody": {"is_active": False},
    "TaskBody": {"workflow_id": "own", "task_id": "own"},
    "TempoChatBody": {"messages": [{"role": "user", "content": "hello"}]},
    "TicketBody": {"resource": "/api/app/executions/own/stream"},
    "TokenBody": {},
    "WebhookBody": {"url": "http://example.com/own", "events": ["execution.failed"]},
    "WorkflowBody": {"name": "Own", "nodes": [{"id": "a", "type": "echo"}]},
    "WriteBody": {"value": 1},
}
"""A body of each type that is good, so that a request with it gets as far as the thing it is about."""


@dataclass(frozen=True)
class Probe:
    """One request. ``ids`` are those it names, ``place`` where."""

    operation: Operation
    place: str
    path: str
    ids: tuple[str, ...]
    body: Any = None
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def method(self) -> str:
        return self.operation.method

    @property
    def credential(self) -> str:
        return "key" if self.operation.policy is Policy.KEY else "user"


def unknown(ids: dict[str, str]) -> dict[str, str]:
    """Ids of the same form that nobody has."""
    return {name: _unknown(text) for name, text in ids.items()}


def _unknown(text: str) -> str:
    made = RandomIds().new()
    if re.fullmatch("[0-9a-f]{8}-[0-9a-f-]{27}", text):
        return str(made)
    return made.hex if re.fullmatch("[0-9a-f]{32}", text) else f"nobody-{made.hex[-12:]}"


def body_of(operation: Operation) -> Any:
    """A good body; None for an operation without one."""
    return None if operation.body is None else dict(BODIES[operation.body.__name__])


def filled(path: str, ids: dict[str, str]) -> str:
    return PARAMETER.sub(lambda found: ids[found[1]], path)


def in_paths(ids: dict[str, str]) -> Iterator[Probe]:
    """Every operation with an id in its path, under every prefix, with these ids."""
    for operation in OPERATIONS:
        names = PARAMETER.findall(operation.path)
        for path in operation.paths() if names and operation.route not in OF_NOBODY else ():
            yield Probe(operation, "path", filled(path, ids), tuple(ids[name] for name in names), body_of(operation))


def references(struct: type[Any] | None) -> list[str]:
    """The fields of a body or query that name something."""
    names = [info.encode_name for info in msgspec.structs.fields(struct)] if struct is not None else []
    return [name for name in names if name in REFERENCES or (name.endswith("_id") and name not in NO_REFERENCES)]


def in_fields(own: dict[str, str], ids: dict[str, str]) -> Iterator[Probe]:
    """Every field of a body or query that names something, with each of these ids; the path has the caller's own."""
    for operation in OPERATIONS:
        if operation.policy in (Policy.OPEN, Policy.PROOF):
            continue
        path = filled(operation.paths()[0], own | {"model": "scripted"})
        for name in references(operation.query):
            for told in _candidates(name, ids):
                yield Probe(operation, "query", path, (told,), body_of(operation), {name: told})
        for name in references(operation.body):
            for told in _candidates(name, ids):
                yield Probe(operation, "body", path, (told,), {**body_of(operation), name: told})


def _candidates(name: str, ids: dict[str, str]) -> list[str]:
    """What stands in a field of this name: the id that belongs there, or any where that is not said."""
    if name == "resource":
        return [f"/api/app/executions/{ids['execution_id']}/stream", f"/ws/events/{ids['session_id']}"]
    if name == "inherit_session":
        return [ids["session_id"], ids["execution_id"]]
    if name in ids:
        return [ids[name]]
    return [ids["execution_id"], ids["workflow_id"], ids["user_id"], ids["session_id"]]


def in_headers(own: dict[str, str], ids: dict[str, str], idempotency_key: str) -> Iterator[Probe]:
    """Every operation with what belongs to somebody else in its headers; what it would change is nobody's."""
    told = (
        {"idempotency-key": idempotency_key},
        {"last-event-id": "1", "x-execution-id": ids["execution_id"]},
        {"last-event-id": ids["execution_id"]},
        {"traceparent": f"00-{ids['trace_id']}-{ids['trace_id'][:16]}-01", "x-trace-id": ids["trace_id"]},
        {"x-request-id": ids["execution_id"], "x-session-id": ids["session_id"], "mcp-session-id": ids["session_id"]},
        {"x-callback-token": ids["execution_id"], "if-match": "1", "if-none-match": "*"},
    )
    nobody = unknown(own)
    for operation in OPERATIONS:
        keeps = operation.method == "GET" or (operation.is_keyed and operation.path.endswith(("execute", "start")))
        path = filled(operation.paths()[0], (own if keeps else nobody) | {"model": "scripted"})
        for headers in told:
            yield Probe(operation, "header", path, tuple(ids.values()), body_of(operation), {}, headers)
