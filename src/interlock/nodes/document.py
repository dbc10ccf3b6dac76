"""Writes the reference of the node types from what they say of themselves.

python -m interlock.nodes.document > docs/reference/nodes.md
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from interlock.core.node_type import NodeType
from interlock.nodes.registry import NodeRegistry, load

_HEAD = """# Node types

What a node of a workflow can be. A *task* type runs somewhere: on the event loop of a server, or in a child process.
A *kernel* type is part of the engine: it takes no worker and survives everything the log survives. Texts among the
parameters may hold `{{ expressions }}`, and wherever a number, a list or a switch is expected an expression may stand
for it; [expressions.md](expressions.md) is their language. Parameters marked *bare* are expressions as they stand.

This page is made by `python -m interlock.nodes.document`.
"""
_PLACES = {"inline": "on the event loop", "process": "in a child process", "sandbox": "in the sandbox of its tenant"}
_KINDS = {
    "": "any JSON",
    "array": "list",
    "boolean": "true or false",
    "integer": "whole number",
    "number": "number",
    "object": "object",
    "string": "text",
}
_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "maxItems": "at most", "maxLength": "length ≤"}
_LOST = {
    "rerun": "it is run again with the same effect key",
    "unknown": "it fails with `OUTCOME_UNKNOWN`",
    "ask": "a person is asked whether it is run again; else it fails with `OUTCOME_UNKNOWN`",
}


def document(registry: NodeRegistry) -> str:
    """The whole page, Markdown, with one section per type in alphabetical order."""
    types = [registry.types[name] for name in sorted(registry.types)]
    return "\n".join([_HEAD, _overview(types), *(_section(each) for each in types)])


def _overview(types: list[NodeType]) -> str:
    rows = ["| type | title | category | runs | ports |", "|---|---|---|---|---|"]
    rows.extend(
        f"| [`{each.name}`](#{each.name}) | {each.title} | {each.category} | {_runs(each)} | {_codes(each.ports)} |"
        for each in types
    )
    return "\n".join(rows) + "\n"


def _section(node_type: NodeType) -> str:
    parts = [f"## {node_type.name}\n", f"**{node_type.title}.** {node_type.description}\n", _facts(node_type)]
    if node_type.schema["properties"]:
        parts.append(_parameters(node_type))
    parts.extend(_example(each) for each in node_type.examples)
    return "\n".join(parts)


def _facts(node_type: NodeType) -> str:
    facts = [f"* Runs: {_runs(node_type)}", f"* Ports: {_codes(node_type.ports)}"]
    if node_type.data_parameter is not None:
        facts.append(f"* Gets the node's data as: `{node_type.data_parameter}`")
    if node_type.runs == "task":
        facts.append(f"* Time for an attempt, if the node does not say: {node_type.default_timeout:g} s")
        facts.append(f"* When the host of an attempt is lost: {_LOST[node_type.on_lost]}")
    return "\n".join(facts) + "\n"


def _parameters(node_type: NodeType) -> str:
    rows = ["| parameter | kind | default | what it is |", "|---|---|---|---|"]
    rows.extend(_rows(node_type.schema, "", node_type.expressions))
    return "\n".join(rows) + "\n"


def _rows(schema: dict[str, Any], within: str, bare: frozenset[str] = frozenset()) -> Iterator[str]:
    """One row per property, and below a list of objects one per property of these."""
    for name, described in schema["properties"].items():
        kind = _kind(described) + (", bare" if name in bare else "")
        default = f"`{json.dumps(described['default'])}`" if "default" in described else ""
        needed = "**required**" if name in schema.get("required", ()) else default
        yield f"| `{within}{name}` | {_cell(kind)} | {needed} | {_cell(described['description'])} |"
        items = _plain(described).get("items", {})
        if "properties" in items:
            yield from _rows(items, f"{within}{name}[].")


def _example(example: dict[str, Any]) -> str:
    return f"```json\n{json.dumps(example, indent=2, ensure_ascii=False)}\n```\n"


def _runs(node_type: NodeType) -> str:
    return "in the engine" if node_type.runs == "kernel" else _PLACES[node_type.place]


def _kind(schema: dict[str, Any]) -> str:
    """The kind of a value and its bounds."""
    plain = _plain(schema)
    if "enum" in plain:
        return " | ".join(f"`{value}`" for value in plain["enum"])
    kind = _KINDS[plain.get("type", "")]
    if "items" in plain:
        kind += " of " + _KINDS[plain["items"]["type"]] + "s"
    return kind + "".join(f", {sign} {_number(plain[word])}" for word, sign in _BOUNDS.items() if word in plain)


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without the template that everything but plain text also takes."""
    plain: dict[str, Any] = schema["anyOf"][0] if "anyOf" in schema else schema
    return plain


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _codes(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(document(load()))
