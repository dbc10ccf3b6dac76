"""Words for the JSON schemas of parameters: closed, described, and open to ``{{ expressions }}``.

Whoever writes a definition may put a template where a number, a list or a switch is expected; its value is known
only at run time. So everything that is not plain text also accepts a text with ``{{``.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

TEMPLATE: Schema = {"type": "string", "pattern": r"\{\{"}
"""A text with at least one placeholder."""

NAME = r"^[A-Za-z0-9_.-]{1,64}$"
"""Ports, fields and other names that are used as keys."""


def parameters(properties: dict[str, Schema], *, required: tuple[str, ...] = (), **rules: Any) -> Schema:
    """An object of exactly these properties."""
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False, **rules}
    return {**schema, "required": list(required)} if required else schema


def literal(description: str, **rules: Any) -> Schema:
    """A text that is taken as it stands: it must be known before anything runs."""
    return {"description": description, "type": "string", **rules}


def text(description: str, *, default: str | None = None, **rules: Any) -> Schema:
    """A text; with ``rules`` (pattern, enum, maxLength), one that keeps them or is a template."""
    schema = {"type": "string", **rules}
    return _described(description, {"anyOf": [schema, TEMPLATE]} if rules else schema, default)


def choice(description: str, *values: str, default: str | None = None) -> Schema:
    """One of a few words."""
    return text(description, default=default, enum=list(values))


def integer(description: str, *, default: int | None = None, **rules: Any) -> Schema:
    """A whole number within ``rules`` (minimum, maximum)."""
    return _described(description, {"anyOf": [{"type": "integer", **rules}, TEMPLATE]}, default)


def number(description: str, *, default: float | None = None, **rules: Any) -> Schema:
    """A number within ``rules`` (minimum, exclusiveMinimum, maximum)."""
    return _described(description, {"anyOf": [{"type": "number", **rules}, TEMPLATE]}, default)


def switch(description: str, *, default: bool = False) -> Schema:
    """True or false."""
    return _described(description, {"anyOf": [{"type": "boolean"}, TEMPLATE]}, default)


def listing(description: str, items: Schema | None = None, **rules: Any) -> Schema:
    """A list, of ``items`` if these are restricted."""
    schema = {"type": "array", **({"items": items} if items is not None else {}), **rules}
    return _described(description, {"anyOf": [schema, TEMPLATE]})


def mapping(description: str, values: Schema | None = None) -> Schema:
    """An object with any keys, whose values are restricted to ``values``."""
    schema = {"type": "object", **({"additionalProperties": values} if values is not None else {})}
    return _described(description, {"anyOf": [schema, TEMPLATE]})


def anything(description: str) -> Schema:
    """Any JSON value."""
    return {"description": description}


def _described(description: str, schema: Schema, default: Any = None) -> Schema:
    described = {"description": description, **schema}
    return described if default is None else {**described, "default": default}
