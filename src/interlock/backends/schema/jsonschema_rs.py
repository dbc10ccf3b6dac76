"""JSON Schema by the library jsonschema-rs: compiled once, kept by content, and never reaching outside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any

import jsonschema_rs
import msgspec

from interlock.core.definition import CheckParameters, Mismatch
from interlock.core.errors import rule_broken
from interlock.core.node_type import NodeType

MAX_SCHEMA_BYTES = 65_536
MAX_ERRORS = 100  # told of one value
_KEPT = 1_000  # compiled schemas
_BACKTRACKS = 100_000  # steps of one regular expression: some milliseconds
_SHOWN = 300  # characters of a message


class SchemaValidators:
    """Compiled schemas of a process. Safe to share between threads."""

    def __init__(self) -> None:
        self._compiled = lru_cache(_KEPT)(_compile)

    def check(self, schema: Mapping[str, Any], value: Any) -> list[Mismatch]:
        """Where a JSON value differs from a schema, at most MAX_ERRORS; empty if it is valid.

        Messages never repeat the value. Raises InterlockError (RULE, SCHEMA_INVALID) if the schema itself is wrong.
        """
        return _errors_of(self._validator(schema), value)

    def check_schema(self, schema: Mapping[str, Any]) -> None:
        """Raises InterlockError (RULE, SCHEMA_INVALID) for a schema that is wrong, too large or refers outside."""
        self._validator(schema)

    def checker(self, types: Mapping[str, NodeType]) -> CheckParameters:
        """The function that ``check_definition`` wants, for a catalogue. Types it does not hold match anything."""
        known: dict[str, jsonschema_rs.Validator] = {}

        def check(node_type: str, parameters: dict[str, Any]) -> list[Mismatch]:
            if node_type not in known:
                if node_type not in types:
                    return []
                known[node_type] = self._validator(types[node_type].schema)
            return _errors_of(known[node_type], parameters)

        return check

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
    except jsonschema_rs.ValidationError as error:
        raise rule_broken("SCHEMA_INVALID", f"The schema is not valid: {error.message[:_SHOWN]}") from error
    except (jsonschema_rs.ReferencingError, ValueError) as error:
        raise rule_broken("SCHEMA_INVALID", f"The schema is not valid: {str(error)[:_SHOWN]}") from error


def _errors_of(validator: jsonschema_rs.Validator, value: Any) -> list[Mismatch]:
    try:
        return list(islice(_mismatches(validator, value), MAX_ERRORS))
    except (ValueError, TypeError, OverflowError) as error:  # a value that is no JSON, or nested too deeply
        return [Mismatch((), f"cannot be checked: {str(error)[:_SHOWN]}")]


def _mismatches(validator: jsonschema_rs.Validator, value: Any) -> Iterator[Mismatch]:
    for error in validator.iter_errors(value):
        path, keyword = tuple(error.instance_path), error.kind.name
        if keyword == "required":
            yield Mismatch((*path, str(error.kind.as_dict()["property"])), "is missing", keyword)
        elif keyword == "additionalProperties":
            for name in error.kind.as_dict()["unexpected"]:
                yield Mismatch((*path, str(name)), "is not known", keyword)
        else:
            yield Mismatch(path, error.message[:_SHOWN], keyword)
