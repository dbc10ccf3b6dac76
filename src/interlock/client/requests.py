"""What is asked of a server, step by step, and what its answers mean; who sends it is somebody else's business.

A *dialogue* is a generator: it yields requests, is sent the answers (decoded JSON), and returns what was wanted.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar
from urllib.parse import quote

from interlock.client.errors import InterlockClientError, Refused, TaskFailed
from interlock.client.graph import Graph, Node, Output
from interlock.client.packing import code_of, packed
from interlock.client.tasks import Needs

T = TypeVar("T")

_REPEATS = 5

PATIENCE = 600.0
"""Seconds that a call of a LangGraph node may take on the server, and a little less than its answer is waited for."""


@dataclass(frozen=True)
class Request:
    """A POST with a JSON body. ``is_repeatable``: sent twice, it has the effect of once."""

    path: str
    body: Any = None
    timeout: float = 60.0
    is_repeatable: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> bytes:
        """Its body as bytes."""
        return json.dumps({} if self.body is None else self.body, allow_nan=False).encode()


Dialogue: TypeAlias = Generator[Request, Any, T]


@dataclass(frozen=True)
class Created:
    """A workflow on the server, and its tasks: id -> name of the node."""

    workflow_id: str
    names: Mapping[str, str]


@dataclass(frozen=True)
class Started:
    """A run that the server has accepted."""

    workflow_id: str
    run_id: str
    names: Mapping[str, str]


def create(graph: Graph) -> Dialogue[Created]:
    """Build a graph on the server."""
    code = {node.index: code_of(node.task.function, node.task.send) for node in graph.nodes}  # all, before the first
    answer = yield Request("/create_workflow", {"name": graph.name})
    workflow_id = str(answer["workflow_id"])
    ids: list[str] = []
    for node in graph.nodes:
        answer = yield Request(
            "/add_task", {"workflow_id": workflow_id, "task_type": "code", "task_name": node.task.name}
        )
        ids.append(str(answer["task_id"]))
        body = _saved(graph, node, ids, workflow_id, code[node.index])
        yield Request("/save_task_and_add_edge", body, is_repeatable=True)
        for source in node.waits_for:
            ends = {"source_task_id": ids[source.index], "target_task_id": ids[-1]}
            yield Request("/add_edge", {"workflow_id": workflow_id, **ends}, is_repeatable=True)
    return Created(workflow_id, dict(zip(ids, (node.label for node in graph.nodes), strict=True)))


def start(created: Created, options: Mapping[str, Any]) -> Dialogue[Started]:
    """Run a workflow as it is now. The run's id is chosen here, so that asking twice starts it once."""
    body = {"workflow_id": created.workflow_id, "run_id": secrets.token_hex(16), **options}
    answer = yield Request("/run_workflow", body, is_repeatable=True)
    return Started(created.workflow_id, str(answer["run_id"]), created.names)


def create_and_start(graph: Graph, options: Mapping[str, Any]) -> Dialogue[Started]:
    """Both."""
    created = yield from create(graph)
    return (yield from start(created, options))


def run_options(
    run_id: str | None, priority: int | None, deadline: float | None, resource_policy: str | None
) -> dict[str, Any]:
    """The fields of a start that were given."""
    given = {
        "run_id": run_id,
        "priority": priority,
        "deadline_seconds": deadline,
        "resource_policy": resource_policy,
    }
    return {name: value for name, value in given.items() if value is not None}


def cancel(run_id: str, reason: str) -> Dialogue[str]:
    """End a run; the state it is in then."""
    body = {"run_id": run_id, **({"reason": reason} if reason else {})}
    answer = yield Request("/cancel_run", body, is_repeatable=True)
    return str(answer["state"])


def register(name: str, workflow_id: str, function: Any, needs: Needs) -> Dialogue[tuple[str, str]]:
    """Put a LangGraph node on the server; its workflow (a new one if none was given) and its task."""
    code = packed(function)
    if not workflow_id:
        answer = yield Request("/create_workflow", {"name": "langgraph"})
        workflow_id = str(answer["workflow_id"])
    body = {
        "workflow_id": workflow_id,
        "task_type": "langgraph",
        "task_name": name,
        "serialized_code": code,
        "resources": needs.as_json(),
    }
    answer = yield Request("/add_langgraph_task", body)
    return workflow_id, str(answer["task_id"])


def call(workflow_id: str, task_id: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Dialogue[Any]:
    """Call a LangGraph node on the server, and wait for what it gives. Raises TaskFailed if it raised."""
    body = {"workflow_id": workflow_id, "task_id": task_id, "args": packed(args), "kwargs": packed(kwargs)}
    headers = {"Idempotency-Key": secrets.token_hex(16)}
    request = Request("/run_langgraph_task", body, PATIENCE + 15, is_repeatable=True, headers=headers)
    try:
        answer = yield request
    except Refused as error:
        if error.code != "TASK_FAILED":
            raise
        told = error.body if isinstance(error.body, dict) else {}
        kind = error.detail.removeprefix("Task failed: ").partition(":")[0]
        run_id = str(told.get("run_id", ""))
        raise TaskFailed(error.detail, error_type=kind, task_id=task_id, run_id=run_id) from error
    return answer["result"]


def stream_path(workflow_id: str, run_id: str, after: int, *, full: bool) -> str:
    """Where the frames of a run are told, those with a higher ``seq`` than ``after``."""
    query = [f"after={after}"] * (after > 0) + ["profile=full"] * full
    path = f"/get_workflow_res/{quote(workflow_id, safe='')}/{quote(run_id, safe='')}"
    return path + ("?" + "&".join(query) if query else "")


def pause_before_repeat(request: Request, error: Exception, attempt: int) -> float | None:
    """Seconds after which to send a request again whose attempt number ``attempt`` ended so; None: not at all."""
    if attempt >= _REPEATS:
        return None
    if isinstance(error, Refused):  # what was refused for now has had no effect
        return error.retry_after if error.status in (429, 503) else None
    return 0.1 * attempt if request.is_repeatable else None


def read_answer(status: int, headers: Mapping[str, str], content: bytes) -> Any:
    """The JSON of an answer. Raises Refused for any status but 200, InterlockClientError for what is no JSON."""
    try:
        body = json.loads(content) if content else None
    except ValueError as error:
        body = None
        if status == 200:
            raise InterlockClientError(
                f"The answer is no JSON; is this an Interlock server? {content[:80]!r}"
            ) from error
    if status == 200:
        return body
    raise refusal(status, headers, body)


def refusal(status: int, headers: Mapping[str, str], body: Any) -> Refused:
    """What an answer that is no success says."""
    told = body if isinstance(body, dict) else {}
    detail = told.get("detail")
    if isinstance(detail, dict):  # back-pressure
        detail = detail.get("message", detail)
    waits = headers.get("retry-after", "")
    return Refused(
        status,
        str(told.get("code", "HTTP_ERROR")),
        str(detail) if detail is not None else "no reason given",
        trace_id=str(told.get("trace_id") or ""),
        retry_after=float(waits) if waits.isdigit() else None,
        body=body,
    )


def _saved(graph: Graph, node: Node, ids: list[str], workflow_id: str, code: dict[str, str]) -> dict[str, Any]:
    task = node.task
    inputs = {str(number): _input(key, value, ids) for number, (key, value) in enumerate(node.inputs.items(), start=1)}
    outputs = {
        str(number): {"key": key, "data_type": "any"} for number, key in enumerate(graph.outputs_of(node), start=1)
    }
    body: dict[str, Any] = {
        "workflow_id": workflow_id,
        "task_id": ids[-1],
        "task_input": {"input_params": inputs},
        "task_output": {"output_params": outputs},
        "resources": task.needs.as_json(),
        **code,
    }
    if task.batch is not None:
        body["batch_config"] = task.batch.as_json()
    if task.timeout is not None:
        body["timeout_seconds"] = task.timeout
    if task.retry is not None:
        body["retry"] = task.retry.as_json()
    return body


def _input(key: str, value: Any, ids: list[str]) -> dict[str, Any]:
    if isinstance(value, Output):
        reference = f"{ids[value.node.index]}.output.{value.key}"
        return {"key": key, "input_schema": "from_task", "data_type": "any", "value": reference}
    return {"key": key, "input_schema": "from_user", "data_type": _type_of(value), "value": value}


def _type_of(value: Any) -> str:
    return "any" if value is None else type(value).__name__
