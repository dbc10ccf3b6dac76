"""From a source (the value of a YAML or JSON document) to a definition."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from interlock.core.definition.fields import Fields
from interlock.core.definition.limits import MAX_DESCRIPTION, MAX_NAME, MAX_TAG, MAX_TAGS
from interlock.core.definition.read_flow import read_flow
from interlock.core.definition.read_graph import read_graph
from interlock.core.definition.report import Place, Report, kind_of
from interlock.core.workflow import Definition, Problem

_KINDS = ("graph", "flow")


class Heading(msgspec.Struct, frozen=True, kw_only=True):
    """What a source says about its workflow beside the definition."""

    name: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()


def read_definition(
    source: Any, *, kind: Literal["graph", "flow"] | None = None
) -> tuple[Definition | None, list[Problem]]:
    """The definition of a source, with warnings; or None, with all that could not be read. Never raises.

    Without ``kind`` the source says it, or its ``nodes`` or ``states`` do. What was read is not checked yet.
    """
    report = Report()
    definition, _ = read_source(source, kind, report)
    return (None if report.errors else definition), report.problems


def read_heading(source: Any) -> Heading:
    """Name, description and tags of a source; what cannot be read is empty. Never raises."""
    return _read_heading(Fields(Report(), source, Place(""))) if isinstance(source, dict) else Heading()


def read_source(
    source: Any, kind: Literal["graph", "flow"] | None, report: Report
) -> tuple[Definition | None, Heading]:
    """As much of a definition as can be read, with holes where something is reported; None if nothing can."""
    if not isinstance(source, dict):
        message = f"A definition must be an object, not {kind_of(source)}"
        report.add("TYPE_WRONG", Place(""), message, hint="write name, nodes and connections; or name and states")
        return None, Heading()
    fields = Fields(report, source, Place(""))
    heading = _read_heading(fields)
    found = _kind(fields, report, kind)
    if found is None:
        return None, heading
    return (read_graph(fields, report) if found == "graph" else read_flow(fields, report)), heading


def _kind(fields: Fields, report: Report, kind: Literal["graph", "flow"] | None) -> str | None:
    written = fields.take("kind")
    if written is None:
        written = kind or _guess(fields.keys)
    if written in _KINDS and kind in (None, written):
        return str(written)
    if kind is not None:
        hint = f"only a {kind} is expected here"
    else:
        hint = "a graph has nodes, a flow has states; if both are there, write kind: graph or kind: flow"
    report.add(
        "KIND_UNKNOWN", fields.place.at("kind"), "The kind of the definition is not known", value=written, hint=hint
    )
    return None


def _guess(keys: list[str]) -> str | None:
    has_nodes, has_states = "nodes" in keys, "states" in keys
    if has_nodes == has_states:
        return None
    return "graph" if has_nodes else "flow"


def _read_heading(fields: Fields) -> Heading:
    return Heading(
        name=_text_within(fields, "name", MAX_NAME),
        description=_text_within(fields, "description", MAX_DESCRIPTION),
        tags=_read_tags(fields),
    )


def _read_tags(fields: Fields) -> tuple[str, ...]:
    tags = fields.texts("tags", limit=MAX_TAGS)
    for index, tag in enumerate(tags):
        if len(tag) > MAX_TAG:
            message = f"A tag has {len(tag)} characters, at most {MAX_TAG} are allowed"
            fields.report.add("TOO_LARGE", fields.place.at("tags", index), message, value=tag)
    return tuple(tag for tag in tags if tag)


def _text_within(fields: Fields, name: str, limit: int) -> str:
    text = fields.text(name)
    if len(text) > limit:
        message = f"'{name}' has {len(text)} characters, at most {limit} are allowed"
        fields.report.add("TOO_LARGE", fields.place.at(name), message, value=text)
    return text
