"""Registered flows and nodes, and how sessions stand, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from interlock.doors.cli.diagram import Arrow, Diagram, Vertex
from interlock.doors.cli.tables import plain_table
from interlock.doors.cli.texts import as_json, one_line, shown

_ADDRESS = 60
_RESULT = 400


def flows_table(flows: Sequence[Mapping[str, Any]]) -> Table:
    """Flows with their versions, one a line."""
    table = plain_table("Flow", "Version", "Whose", "Name", "Description")
    for flow in flows:
        version, whose = shown(flow.get("version")), shown(flow.get("scope"))
        table.add_row(shown(flow.get("flow_id")), version, whose, one_line(flow.get("name"), 40), _told(flow))
    return table


def nodes_table(nodes: Sequence[Mapping[str, Any]]) -> Table:
    """Nodes with what they call, one a line."""
    table = plain_table("Node", "Kind", "Name", "Calls or does")
    for node in nodes:
        does = one_line(node.get("endpoint") or node.get("description"), _ADDRESS)
        kind = shown(node.get("node_type"))
        table.add_row(shown(node.get("node_id")), kind, one_line(node.get("name"), 40), does)
    return table


def _told(flow: Mapping[str, Any]) -> str:
    return one_line(flow.get("description"), _ADDRESS)


def flow_diagram(flow: Mapping[str, Any]) -> Diagram:
    """The states of a flow as they are drawn: with what runs in each, and the events between them."""
    graph = flow.get("graph") or {}
    nodes = graph.get("nodes") or []
    return Diagram(
        vertices=tuple(Vertex(str(node["id"]), str(node["label"]), _kind(node)) for node in nodes),
        arrows=tuple(
            Arrow(str(edge["from"]), str(edge["to"]), str(edge["event"]) + (" (all)" if edge.get("fan_in") else ""))
            for edge in graph.get("edges") or []
        ),
        roots=tuple(str(node["id"]) for node in nodes if node.get("initial")),
        is_flow=True,
    )


def _kind(node: Mapping[str, Any]) -> str:
    told = [str(node["node_ref"])] if node.get("node_ref") else []
    told += ["waits for its user"] if node.get("user_input") else []
    return ", ".join([*told, *(["end"] if node.get("terminal") else [])])


def session_lines(session_id: str, answer: Mapping[str, Any]) -> list[str]:
    """Where a session stands, what its nodes said, and what moves it on."""
    state = answer.get("state") or answer.get("new_state") or answer.get("current_state")
    lines = [f"Session {session_id} is in {state} ({answer.get('session_state')})."]
    if answer.get("result") is not None:
        lines.append(f"Result: {as_json(answer['result'], _RESULT)}")
    error = answer.get("error")
    if isinstance(error, dict):
        lines.append(f"Error: {one_line(error.get('message'), _RESULT)} ({error.get('code')})")
    events = answer.get("valid_events") or []
    if events and answer.get("session_state") != "running":
        lines.append(f"Move it with `interlock sessions event {session_id} {events[0]}`.")
        if events[1:]:
            lines.append(f"It also takes {', '.join(events[1:])}.")
    return lines
