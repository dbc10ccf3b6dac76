"""The real catalogue and the real schema checks, and sources of definitions that are right."""

from __future__ import annotations

import copy
from typing import Any

from interlock.backends.schema.jsonschema_rs import JsonSchemas
from interlock.core.definition import Verdict, validate_definition
from interlock.core.engine.flow.program import FlowProgram
from interlock.core.engine.graph.program import GraphProgram
from interlock.core.workflow import Definition, GraphDefinition
from interlock.nodes import load

TYPES = load().types
SCHEMAS = JsonSchemas(TYPES)

GRAPH: dict[str, Any] = {
    "kind": "graph",
    "name": "orders",
    "nodes": [
        {"id": "start", "type": "trigger"},
        {"id": "each", "type": "map", "parameters": {"items": "{{ $json.lines }}"}},
        {"id": "price", "type": "http_request", "parameters": {"url": "https://shop.example/{{ $json.sku }}"}},
        {"id": "note", "type": "transform", "parameters": {"mapping": {"price": "{{ $json.json.price }}"}}},
        {"id": "big", "type": "condition", "parameters": {"condition_expression": "len(data) > 3"}},
        {"id": "ask", "type": "approval", "name": "Ask someone", "parameters": {"title": "Pay?"}},
        {"id": "end", "type": "transform", "join": "any", "parameters": {"mapping": "{{ $json }}"}},
    ],
    "connections": [
        "start -> each",
        {"from": "each", "port": "iteration", "to": "price"},
        "price -> note",
        "note -> each",
        "each -> big",
        {"from": "big", "port": "true", "to": "ask"},
        {"from": "big", "port": "false", "to": "end"},
        {"from": "ask", "port": "confirmed", "to": "end", "when": "$json.approved", "mapping": {"a": "{{ $json }}"}},
    ],
    "settings": {"max_parallel": 5, "output": '{{ $node["Ask someone"].result }}'},
}

FLOW: dict[str, Any] = {
    "kind": "flow",
    "name": "ship",
    "states": ["check", "rest", "left", "right", "joined", "end"],
    "state_node_map": {"check": "builtin://transform", "left": "echo", "right": "echo"},
    "state_params": {"check": {"mapping": {"n": "{{ $trigger.n }}"}}, "left": {"input": "{{ variables.n }}"}},
    "user_input_states": ["rest"],
    "retry": {"check": {"max_attempts": 2, "base_seconds": 1, "max_seconds": 9}},
    "timeouts": {"check": 60},
    "timers": {"rest": {"after": 3600, "event": "LATE"}},
    "transitions": [
        {"from": "check", "event": "STEP_DONE", "to": ["left", "right"], "when": "variables.n > 3"},
        {"from": "check", "event": "STEP_DONE", "to": "rest"},
        {"from": ["rest", "joined"], "event": "go", "to": "end"},
        {"from": "rest", "event": "LATE", "to": "end"},
        {"from": ["left", "right"], "to": "joined", "fan_in": True},
    ],
}

A, B, C = {"id": "a"}, {"id": "b"}, {"id": "c"}


def graph(**changes: Any) -> dict[str, Any]:
    """A copy of GRAPH with other values for some of its keys."""
    return copy.deepcopy(GRAPH) | changes


def flow(**changes: Any) -> dict[str, Any]:
    """A copy of FLOW with other values for some of its keys."""
    return copy.deepcopy(FLOW) | changes


def nodes(*found: dict[str, Any], connections: Any = (), **more: Any) -> dict[str, Any]:
    """A graph of some nodes; those without a type are echoes."""
    return {"nodes": [{"type": "echo", **node} for node in found], "connections": list(connections), **more}


def step(parameters: Any, **more: Any) -> dict[str, Any]:
    """A graph of one transform."""
    return nodes({"id": "a", "type": "transform", "parameters": parameters, **more})


def call(**parameters: Any) -> dict[str, Any]:
    """A graph of one HTTP request."""
    return nodes({"id": "a", "type": "http_request", "parameters": {"url": "https://x.example", **parameters}})


def choose(**parameters: Any) -> dict[str, Any]:
    """A graph of one condition."""
    return nodes({"id": "a", "type": "condition", "parameters": parameters})


def joined(*connections: Any, first: dict[str, Any] | None = None) -> dict[str, Any]:
    """Three echoes with connections; ``first`` has more keys of the first."""
    return nodes({**A, **(first or {})}, B, C, connections=connections)


def validate(source: Any, **options: Any) -> Verdict:
    """What the house says of a source."""
    return validate_definition(source, TYPES, check_parameters=SCHEMAS.check_parameters, **options)


def places(source: Any, **options: Any) -> list[tuple[str, str]]:
    """The codes and paths of all errors."""
    return [(problem.code, problem.path) for problem in validate(source, **options).errors]


def compile_definition(definition: Definition) -> GraphProgram | FlowProgram:
    """What the engine makes of a definition."""
    if isinstance(definition, GraphDefinition):
        return GraphProgram(definition, TYPES)
    return FlowProgram(definition, TYPES)
