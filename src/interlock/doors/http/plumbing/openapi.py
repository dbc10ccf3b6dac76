"""OpenAPI 3.1, written from the operations."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from interlock.doors.http.plumbing.operation import Operation, Policy

_KEY_OF_CALLER = {"type": "string", "pattern": r"^[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?$"}
_HEADERS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("Idempotency-Key", "takes_key", _KEY_OF_CALLER),
    ("Last-Event-ID", "is_stream", {"type": "string", "pattern": "^[0-9]{1,9}$"}),
)
"""Headers of an operation, the mark of those that read them, and their form."""
_REFERENCE = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"{(\w+)}")
_JSON = "application/json"
_TOKEN: dict[str, list[str]] = {"bearer": []}
_KEY: dict[str, list[str]] = {"apiKey": []}
_TENANT: dict[str, list[str]] = {"tenant": []}
_SCHEMES: dict[str, dict[str, str]] = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_TENANT_SCHEME = {
    "type": "apiKey",
    "in": "header",
    "name": "X-Tenant-Id",
    "description": "Local mode only: the tenant you want to be, any name of letters, digits and _ . -",
}
_SECURITY: dict[Policy | None, list[dict[str, list[str]]]] = {
    Policy.OPTIONAL: [_TOKEN, _KEY, {}],
    Policy.USER: [_TOKEN],
    Policy.KEY: [_KEY, _TOKEN],
    Policy.CALLER: [_TOKEN, _KEY],
    Policy.LOCAL: [_TOKEN, _KEY, {}],
    Policy.TENANT: [_TOKEN, _KEY],
    Policy.PROOF: [_TOKEN, _KEY, {}],
}
_WORDS = {
    200: "Done",
    201: "Made",
    202: "Taken, and done later",
    204: "Nothing left",
    302: "Elsewhere",
    304: "The caller already has it",
    400: "The request cannot be read or breaks a rule",
    401: "No valid credential",
    403: "The credential does not allow this",
    404: "Unknown, or not the caller's",
    409: "The thing is not in a condition that allows this",
    410: "No longer there",
    412: "The version named is not the current one",
    413: "The body is too large",
    415: "The body is not JSON",
    422: "The request can be read and cannot be done",
    429: "Too much; try later",
    500: "The server failed",
    502: "What this server asked failed",
    503: "Not now; try later",
    504: "It took too long",
}


def openapi(
    operations: Iterable[Operation],
    title: str,
    version: str,
    errors: dict[str, Any],
    *,
    description: str = "",
    is_local: bool = False,
) -> dict[str, Any]:
    """The document of all operations under all their prefixes. ``errors`` maps a door to its envelope's type.

    ``is_local``: naming a tenant is enough where that is the policy.
    """
    listed = sorted(operations, key=lambda operation: (operation.route, operation.method))
    answers = [shape for operation in listed for shape in _shapes(operation)]
    bodies = [operation.body for operation in listed if operation.body is not None]
    types = list(dict.fromkeys([*answers, *bodies, *errors.values()]))
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    schema_of = dict(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in listed:
        for number, path in enumerate(operation.paths()):
            described = _operation(operation, number, schema_of, errors)
            if is_local and operation.policy is Policy.TENANT:
                described["security"] = [_TENANT, *described["security"], {}]  # a name of one's choice proves nothing
            paths.setdefault(path or "/", {})[operation.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": description},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {**_SCHEMES, **({"tenant": _TENANT_SCHEME} if is_local else {})},
        },
    }


def _operation(
    operation: Operation, number: int, schema_of: dict[Any, dict[str, Any]], errors: dict[str, Any]
) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": _id(operation) + ("" if number == 0 else f"_{number + 1}"),
        "summary": operation.summary,
        "tags": list(operation.tags or (operation.door.name,)),
        "parameters": [*_path_parameters(operation), *_query_parameters(operation), *_headers(operation)],
        "responses": _responses(operation, schema_of, errors),
    }
    if operation.body is not None:
        content = {_JSON: {"schema": schema_of[operation.body]}}
        if operation.example is not None:
            content[_JSON]["example"] = operation.example
        described["requestBody"] = {"content": content, "required": _needs_body(operation.body)}
    if operation.aliases:
        names = ", ".join(f"{alias} = {name}" for alias, name in operation.aliases.items())
        described["description"] = f"Also accepted in the body: {names}."
    if operation.policy in _SECURITY:
        described["security"] = _SECURITY[operation.policy]
    if operation.scope is not None:
        described["x-required-scope"] = operation.scope
    return described


def _id(operation: Operation) -> str:
    words = re.sub(r"[^a-z0-9]+", "_", operation.path.lower()).strip("_")
    return "_".join(part for part in (operation.door.name, operation.method.lower(), words) if part)


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(operation.path)
    ]


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    if operation.query is None:
        return []
    (schema,), components = msgspec.json.schema_components([operation.query], ref_template=_REFERENCE)
    properties = components[schema["$ref"].rpartition("/")[2]]["properties"]
    return [
        {"name": name, "in": "query", "required": False, "schema": described} for name, described in properties.items()
    ]


def _headers(operation: Operation) -> list[dict[str, Any]]:
    marked = [
        {"name": name, "in": "header", "required": False, "schema": schema}
        for name, mark, schema in _HEADERS
        if getattr(operation, mark)
    ]
    own = [
        {"name": field.name, "in": "header", "required": False, "description": field.meaning, "schema": field.schema}
        for field in operation.headers
    ]
    return [*marked, *own]


def _needs_body(body: type[Any]) -> bool:
    return any(info.required for info in msgspec.structs.fields(body))


def _responses(operation: Operation, schema_of: dict[Any, dict[str, Any]], errors: dict[str, Any]) -> dict[str, Any]:
    shapes = [schema_of[shape] for shape in _shapes(operation)]
    schema: dict[str, Any] = {"anyOf": shapes} if len(shapes) > 1 else shapes[0] if shapes else {}
    if not shapes and operation.media_type != _JSON:
        schema = {"type": "string"}
    done: dict[str, Any] = {"description": _WORDS[operation.status]}
    if operation.status not in (204, 302):
        done["content"] = {operation.media_type: {"schema": schema}}
        if operation.streamed_as is not None:
            done["content"][operation.streamed_as] = {"schema": {}}
    responses = {str(operation.status): done}
    for status in sorted({*operation.failures, *_common(operation)} - {operation.status}):
        responses[str(status)] = _failure(status, errors.get(operation.door.name), schema_of)
    return responses


def _shapes(operation: Operation) -> tuple[Any, ...]:
    """The types that the body of an answer may have."""
    if operation.answer is None:
        return ()
    return operation.answer if isinstance(operation.answer, tuple) else (operation.answer,)


def _failure(status: int, envelope: Any, schema_of: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    if status < 400 or envelope is None:
        return {"description": _WORDS[status]}
    return {"description": _WORDS[status], "content": {_JSON: {"schema": schema_of[envelope]}}}


def _common(operation: Operation) -> set[int]:
    """Statuses that follow from what the operation declares."""
    found: set[int] = set()
    if operation.policy not in (Policy.OPEN, Policy.OPTIONAL):
        found |= {401, 403, 429, 503}
    if operation.policy is Policy.OPTIONAL:
        found |= {401, 429}
    if operation.body is not None:
        found |= {400, 413, 415}
    if operation.query is not None:
        found.add(400)
    if operation.body is not None or operation.query is not None:
        found.add(operation.door.rule_status)
    if "{" in operation.path:
        found.add(404)
    if operation.takes_key:
        found |= {400, 409, 422}
    if operation.is_stream:
        found |= {204, 410}
    return found
