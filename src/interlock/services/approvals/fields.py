"""Does an answer fill in the fields of its question?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from interlock.core.errors import InterlockError, rule_broken

CheckValue = Callable[[dict[str, Any], Any], Sequence[str]]
"""What is wrong with a value by a JSON schema, in words; nothing if it is right. References stay local."""

_TEXT: tuple[type, ...] = (str,)
_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "text": (_TEXT, "a text"),
    "string": (_TEXT, "a text"),
    "textarea": (_TEXT, "a text"),
    "email": (_TEXT, "an e-mail address"),
    "url": (_TEXT, "a URL"),
    "date": (_TEXT, "a date"),
    "datetime": (_TEXT, "a date with a time"),
    "number": ((int, float), "a number"),
    "integer": ((int,), "an integer"),
    "boolean": ((bool,), "true or false"),
    "checkbox": ((bool,), "true or false"),
    "multiselect": ((list,), "a list"),
}
"""The kinds of fields: which values fit, and what to call them."""


def check_fields(fields: Sequence[dict[str, Any]], data: Any, check_value: CheckValue) -> None:
    """Raise RULE with every field that is missing or wrong. Fields that the question does not name are let through."""
    if data is not None and not isinstance(data, dict):
        raise rule_broken("VALIDATION_ERROR", "data must be an object with the question's fields", field="data")
    given: dict[str, Any] = data or {}
    errors = [
        {"field": f"data.{field['name']}", "reason": reason}
        for field in fields
        if (reason := _reason(field, given.get(field["name"]), check_value))
    ]
    if errors:
        raise _refusal(errors)


def _refusal(errors: list[dict[str, str]]) -> InterlockError:
    message = "; ".join(f"{error['field']}: {error['reason']}" for error in errors)
    return rule_broken("VALIDATION_ERROR", message, field=errors[0]["field"], errors=errors)


def _reason(field: dict[str, Any], value: Any, check_value: CheckValue) -> str:
    """What is wrong with the value of one field; empty if nothing."""
    if value is None or value == "":
        return "an answer is required" if field.get("required") else ""
    kind = str(field.get("field_type") or "text")
    wanted, name = _TYPES.get(kind, ((object, bool), ""))
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        return f"must be {name}"
    options = field.get("options")
    chosen = value if isinstance(value, list) else [value]
    if isinstance(options, list) and options and any(item not in _values(options) for item in chosen):
        return f"must be one of {_values(options)}"
    rules = field.get("validation")
    found = check_value(rules, value) if isinstance(rules, dict) and rules else ()
    return found[0] if found else ""


def _values(options: list[Any]) -> list[Any]:
    """Options are plain values, or objects with a value and a label."""
    return [option.get("value") if isinstance(option, dict) else option for option in options]
