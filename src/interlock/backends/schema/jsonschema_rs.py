"""JSON Schema by the library jsonschema-rs: compiled once, kept by content, and never reaching outside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

import jsonschema_rs
import msgspec

from interlock.core.definition import Mismatch
from interlock.core.errors import InterlockError, rule_broken
from interlock.core.node_type import NodeType

MAX_SCHEMA_BYTES = 65_536
MAX_MISMATCHES = 100  # told of one value
_KEPT = 1_000  # compiled schemas
_BACKTRACKS = 100_000  # steps of one regular expression: some milliseconds
_SHOWN = 300  # characters of a message
_PLACEHOLDER = r'"\{\{"'  # as messages quote the pattern of schemas that let any text with a placeholder through
_SEVERAL = frozenset({"anyOf", "oneOf"})


class JsonSchemas:
    """Checks values against schemas. Safe to share between threads; messages never repeat a value."""

    def __init__(self, types: Mapping[str, NodeType]) -> None:
        """``types`` may be a live view; schemas are compiled when they are first needed."""
        self._types = types
        self._compiled = lru_cache(_KEPT)(_compile)

    def check_parameters(self, node_type: str, parameters: dict[str, Any]) -> list[Mismatch]:
        """Where parameters differ from the schema of a node type, at most MAX_MISMATCHES. Unknown types allow all.

        Raises InterlockError (RULE, SCHEMA_INVALID) if the type has a wrong schema.
        """
        found = self._types.get(node_type)
        return [] if found is None else _mismatches_of(self._validator(found.schema), parameters)

    def check_value(self, schema: Mapping[str, Any], value: Any) -> list[str]:
        """What is wrong with a value, in words; a schema that is wrong itself is one more reason. Never raises."""
        try:
            return [_in_words(found) for found in _mismatches_of(self._validator(schema), value)]
        except InterlockError as error:
            return [error.message]

    def check_schema(self, schema: Mapping[str, Any]) -> None:
        """Raises InterlockError (RULE, SCHEMA_INVALID) for a schema that is wrong, too large or refers outside."""
        self._validator(schema)

    def _validator(self, schema: Mapping[str, Any]) -> jsonschema_rs.Validator:
        try:
            text = msgspec.json.encode(schema, order="sorted")
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise rule_broken("SCHEMA_INVALID", f"The schema is not plain JSON: {error}") from error
        if len(text) > MAX_SCHEMA_BYTES:
            message = f"The schema has {len(text)} bytes, at most {MAX_SCHEMA_BYTES} are allowed"
            raise rule_broken("SCHEMA_INVALID", message)
        return self._compiled(text)


def _compile(text: bytes) -> jsonschema_rs.Validator:
    try:
        return jsonschema_rs.validator_for(
            msgspec.json.decode(text),
            offline=True,
            mask="the value",
            validate_formats=True,
            pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=_BACKTRACKS),
        )
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        reason = error.message if isinstance(error, jsonschema_rs.ValidationError) else str(error)
        raise rule_broken("SCHEMA_INVALID", f"The schema is not valid: {reason[:_SHOWN]}") from error


def _mismatches_of(validator: jsonschema_rs.Validator, value: Any) -> list[Mismatch]:
    try:
        return list(islice(_mismatches(validator.iter_errors(value)), MAX_MISMATCHES))
    except (ValueError, TypeError, OverflowError) as error:  # a value that is no JSON, or nested too deeply
        return [Mismatch((), f"the value cannot be checked: {str(error)[:_SHOWN]}")]


def _mismatches(errors: Iterator[jsonschema_rs.ValidationError] | Sequence[Any]) -> Iterator[Mismatch]:
    for error in errors:
        path, keyword, details = tuple(error.instance_path), error.kind.name, error.kind.as_dict()
        if keyword == "required":
            yield Mismatch((*path, str(details["property"])), "is missing", keyword)
        elif keyword == "additionalProperties":
            yield from (Mismatch((*path, str(name)), "is not known", keyword) for name in details["unexpected"])
        elif keyword in _SEVERAL and all(details["context"]):
            branches = tuple(tuple(_mismatches(branch)) for branch in details["context"])
            yield Mismatch(path, _closest(path, branches), keyword, branches)
        elif keyword == "enum" and all(isinstance(option, str) for option in details["options"]):
            yield Mismatch(path, f"the value is none of {', '.join(details['options'])}"[:_SHOWN], keyword)
        else:
            yield Mismatch(path, error.message[:_SHOWN], keyword)


def _closest(path: tuple[str | int, ...], branches: Sequence[Sequence[Mismatch]]) -> str:
    """Why the branches fail that come closest: not those that only wait for a placeholder or another kind of value."""
    real = [branch for branch in branches if not any(_PLACEHOLDER in found.message for found in branch)] or branches
    kind = [branch for branch in real if not any(found == (path, found.message, "type", ()) for found in branch)]
    reasons = [" and ".join(_in_words(found, len(path)) for found in branch) for branch in kind or real]
    return " or ".join(dict.fromkeys(reasons))[:_SHOWN]


def _in_words(found: Mismatch, skipped: int = 0) -> str:
    path = ".".join(map(str, found.path[skipped:]))
    return f"{path}: {found.message}" if path else found.message
