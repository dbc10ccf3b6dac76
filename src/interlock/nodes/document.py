"""Writes the reference of the node types from what they say of themselves.

python -m interlock.nodes.document > docs/reference/nodes.md
"""

from __future__ import annotations

import json
import sys
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
_PLACES = {"inline": "on the event loop", "process": "in a child process"}
_LOST = {
    "rerun": "it is run again with the same effect key",
    "unknown": "it fails with `OUTCOME_UNKNOWN`",
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
    required = node_type.schema.get("required", [])
    rows = ["| parameter | kind | default | what it is |", "|---|---|---|---|"]
    for name, schema in node_type.schema["properties"].items():
        kind = _kind(schema) + (", bare" if name in node_type.expressions else "")
        default = f"`{json.dumps(schema['default'])}`" if "default" in schema else ""
        needed = "**required**" if name in required else default
        rows.append(f"| `{name}` | {_cell(kind)} | {needed} | {_cell(schema['description'])} |")
    return "\n".join(rows) + "\n"


def _example(example: dict[str, Any]) -> str:
    return f"```json\n{json.dumps(example, indent=2, ensure_ascii=False)}\n```\n"


def _runs(node_type: NodeType) -> str:
    return "in the engine" if node_type.runs == "kernel" else _PLACES[node_type.place]


def _kind(schema: dict[str, Any]) -> str:
    """The kind of a value and its bounds, without the template that everything but plain text also takes."""
    schema = schema["anyOf"][0] if "anyOf" in schema else schema
    if "enum" in schema:
        return " | ".join(f"`{value}`" for value in schema["enum"])
    kind = {"array": "list", "string": "text"}.get(schema.get("type", ""), schema.get("type", "any JSON"))
    items = schema.get("items")
    if isinstance(items, dict) and items.get("properties"):
        kind += f" of {{{', '.join(items['properties'])}}}"
    return kind + _bounds(schema)


def _bounds(schema: dict[str, Any]) -> str:
    words = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"))
    return "".join(f", {sign} {schema[word]:,g}" for word, sign in words if word in schema)


def _codes(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(document(load()))
