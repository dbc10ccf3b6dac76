"""The native form of a graph: nodes, connections and settings."""

from __future__ import annotations

from typing import Any

from interlock.core.definition.fields import Fields
from interlock.core.definition.limits import MAX_CONNECTIONS, MAX_NODES, MAX_RETRY_CODES
from interlock.core.definition.report import Place, Report, kind_of
from interlock.core.placing.over_ask import Policy
from interlock.core.resources import Resources
from interlock.core.workflow import (
    ConnectionDefinition,
    GraphDefinition,
    GraphSettings,
    NodeDefinition,
    OnError,
    RetryPolicy,
)

_ON_ERROR: tuple[OnError, ...] = ("stop", "continue", "error_output")
OVER_ASK: tuple[Policy, ...] = ("clamp", "queue", "reject")
_ARROW = "->"


def read_graph(fields: Fields, report: Report) -> GraphDefinition | None:
    """The graph, as far as it can be read: the n-th node is always the n-th of the source. None if it is too large."""
    nodes, connections = fields.items("nodes"), fields.items("connections")
    settings = _read_settings(fields.inner("settings"))
    fields.close()
    if _is_too_large(report, fields, nodes, connections):
        return None
    return GraphDefinition(
        nodes=tuple(_read_node(report, item, Place(f"nodes[{index}]")) for index, item in enumerate(nodes)),
        connections=tuple(
            _read_connection(report, item, Place(f"connections[{index}]")) for index, item in enumerate(connections)
        ),
        settings=settings,
    )


def read_retry(fields: Fields, defaults: RetryPolicy, *, is_lenient: bool = False) -> RetryPolicy:
    """A retry policy; both spellings of its times are known."""
    policy = RetryPolicy(
        max_attempts=fields.whole("max_attempts", default=defaults.max_attempts),
        backoff=fields.number("backoff", "base_seconds", default=defaults.backoff),
        factor=fields.number("factor", default=defaults.factor),
        max_backoff=fields.number("max_backoff", "max_seconds", default=defaults.max_backoff),
        jitter=fields.flag("jitter", default=defaults.jitter),
        retry_on=fields.texts("retry_on", limit=MAX_RETRY_CODES),
    )
    fields.close(is_lenient=is_lenient)
    return policy


def _is_too_large(report: Report, fields: Fields, nodes: list[Any], connections: list[Any]) -> bool:
    found = False
    for name, items, limit in (("nodes", nodes, MAX_NODES), ("connections", connections, MAX_CONNECTIONS)):
        if len(items) > limit:
            found = True
            message = f"The graph has {len(items)} {name}, at most {limit} are allowed"
            report.add("TOO_LARGE", fields.place.at(name), message, value=len(items), hint="use sub-workflows or map")
    return found


def _read_settings(fields: Fields) -> GraphSettings:
    defaults = GraphSettings()
    over_ask = fields.choice("over_ask", OVER_ASK, "queue")
    settings = GraphSettings(
        max_parallel=fields.whole("max_parallel", default=defaults.max_parallel),
        timeout=fields.seconds("timeout"),
        on_failure=fields.choice("on_failure", ("stop", "continue"), defaults.on_failure),
        output=fields.take("output"),
        over_ask=over_ask if "over_ask" in fields.keys else None,
    )
    fields.close()
    return settings


def _read_node(report: Report, source: Any, place: Place) -> NodeDefinition:
    if not isinstance(source, dict):
        message = f"A node must be an object, not {kind_of(source)}"
        report.add("TYPE_WRONG", place, message, value=source, hint="write {id: …, type: …}")
        return NodeDefinition(id="", type="")
    node_id = source.get("id")
    fields = Fields(report, source, Place(place.path, node_id if isinstance(node_id, str) else None))
    retry = fields.mapping("retry")
    node = NodeDefinition(
        id=fields.text("id", required=True),
        type=fields.text("type", required=True),
        name=fields.text("name"),
        parameters=fields.mapping("parameters"),
        input=fields.mapping("input"),
        retry=read_retry(fields.inner("retry", retry), RetryPolicy()) if retry else RetryPolicy(),
        timeout=fields.seconds("timeout"),
        deadline=fields.seconds("deadline"),
        heartbeat=fields.seconds("heartbeat"),
        on_error=fields.choice("on_error", _ON_ERROR, "stop"),
        join=fields.choice("join", ("all", "any"), "all"),
        disabled=fields.flag("disabled"),
        resources=_read_resources(fields),
    )
    fields.close()
    return node


def _read_resources(fields: Fields) -> Resources | None:
    """What a node needs; an empty object is a task that has its place like any other, with one core."""
    found = fields.mapping("resources")
    if "resources" not in fields.keys:
        return None
    inner, defaults = fields.inner("resources", found), Resources()
    resources = Resources(
        cpu=inner.amount("cpu", default=defaults.cpu),
        memory=inner.amount("memory", default=defaults.memory),
        gpu=inner.amount("gpu", default=defaults.gpu),
        gpu_memory=inner.amount("gpu_memory", default=defaults.gpu_memory),
    )
    inner.close()
    return resources


def _read_connection(report: Report, source: Any, place: Place) -> ConnectionDefinition:
    if isinstance(source, str):
        return _read_arrow(report, source, place)
    if not isinstance(source, dict):
        message = f"A connection must be an object or a text, not {kind_of(source)}"
        report.add("TYPE_WRONG", place, message, value=source, hint="write {from: a, to: b} or a -> b")
        return ConnectionDefinition(source="", target="")
    fields = Fields(report, source, place)
    connection = ConnectionDefinition(
        source=fields.text("from", "from_node", required=True),
        target=fields.text("to", "to_node", required=True),
        port=fields.text("port", "output_key", default="result"),
        into=fields.text("into", "input_key", default="main"),
        when=fields.text("when") or None,
        mapping=fields.take("mapping"),
    )
    fields.close()
    return connection


def _read_arrow(report: Report, source: str, place: Place) -> ConnectionDefinition:
    ends = [end.strip() for end in source.split(_ARROW, 2)]
    if len(ends) != 2:
        report.add("TYPE_WRONG", place, "A connection as a text joins two nodes", value=source, hint="write a -> b")
        return ConnectionDefinition(source="", target="")
    return ConnectionDefinition(source=ends[0], target=ends[1])
