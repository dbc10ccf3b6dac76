"""What comes in: the body, read within its limit, as strict JSON, in the types the operation declares."""

from __future__ import annotations

import asyncio
import re
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Receive

from interlock.core.errors import ErrorKind, InterlockError, invalid, rule_broken
from interlock.core.principal import Principal
from interlock.doors.http.plumbing.operation import Operation, Policy
from interlock.kit import strict_json

RECEIVE_SECONDS = 30.0
"""How long a body may take from its first part to its last."""

_MAX_QUERY_FIELDS = 100
_JSON_TYPE = re.compile(rb"application/(?:[a-z0-9.+-]+\+)?json\s*(?:;\s*charset\s*=\s*\"?utf-?8\"?\s*)?", re.IGNORECASE)
_PLACE = re.compile(r" - at `\$\.?(.*)`$")
_NAMED_FIELD = re.compile(r"(?:missing required|contains unknown) field `(.*)`$")


class CallerLeft(Exception):
    """The connection was closed before the request was complete."""


async def read_body(receive: Receive, headers: dict[bytes, bytes], limit: int) -> bytes:
    """The whole body as it came, at most ``limit`` bytes, whatever ``Content-Length`` says.

    Raises TOO_LARGE, INVALID when it stalls, CallerLeft.
    """
    declared = headers.get(b"content-length")
    if declared is not None and declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise CallerLeft
    body: bytes = message.get("body", b"")
    if message.get("more_body", False):
        body = await _read_rest(receive, body, limit)
    if len(body) > limit:
        raise _too_large(limit)
    return body


def refuse_encoded(headers: dict[bytes, bytes]) -> None:
    """Raise UNSUPPORTED_MEDIA for a body that would have to be unpacked."""
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise _unsupported("Send the body without encoding")


def refuse_other_media(headers: dict[bytes, bytes], body: bytes) -> None:
    """Raise UNSUPPORTED_MEDIA for a body that says it is anything but JSON."""
    if body and (kind := headers.get(b"content-type")) is not None and not _JSON_TYPE.fullmatch(kind):
        raise _unsupported("Send the body as application/json in UTF-8")


async def _read_rest(receive: Receive, first: bytes, limit: int) -> bytes:
    parts = bytearray(first)
    try:
        async with asyncio.timeout(RECEIVE_SECONDS):
            more = True
            while more and len(parts) <= limit:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise CallerLeft
                parts += message.get("body", b"")
                more = message.get("more_body", False)
    except TimeoutError as error:
        raise invalid("INVALID_REQUEST", f"The body did not arrive within {RECEIVE_SECONDS:.0f} s") from error
    return bytes(parts)


def _unsupported(message: str) -> InterlockError:
    return InterlockError(ErrorKind.UNSUPPORTED_MEDIA, "UNSUPPORTED_MEDIA_TYPE", message)


def _too_large(limit: int) -> InterlockError:
    return InterlockError(ErrorKind.TOO_LARGE, "PAYLOAD_TOO_LARGE", f"A body may have at most {limit} bytes")


def decode_body(raw: bytes, operation: Operation, limit: int, principal: Principal) -> Any:
    """The body in the operation's type; an absent body is an empty object.

    Raises INVALID_JSON, VALIDATION_ERROR, and TENANT_MISMATCH for a body that names another owner than the caller. Of
    a request that proves itself later the owner is known only then: its handler compares.
    """
    if operation.body is None:
        return None
    value: Any = {}
    if raw:
        try:
            value = strict_json.decode(raw, max_bytes=limit)
        except strict_json.StrictJsonError as error:
            reason = f"The body is not JSON that this server accepts: {error}"
            raise invalid("INVALID_JSON", reason, reason=error.reason) from error
    if isinstance(value, dict):
        if principal.kind != "anonymous" or operation.policy is not Policy.PROOF:
            _refuse_other_owner(value, principal)
        if operation.aliases:
            value = _rename(value, operation)
    return _convert(value, operation.body, strict=True)


def _refuse_other_owner(value: dict[str, Any], principal: Principal) -> None:
    """Whose something is comes from the credential; a body may repeat it and never change it."""
    for name, own in (
        ("tenant_id", principal.tenant_id),
        ("user_id", principal.subject),
        ("owner", principal.subject),
    ):
        if name in value and value[name] != own:
            message = f"{name} comes from the credential; leave it out of the body"
            raise InterlockError(ErrorKind.DENIED, "TENANT_MISMATCH", message, details={"field": name})


def _rename(value: dict[str, Any], operation: Operation) -> dict[str, Any]:
    """The same object with aliases replaced by the fields they stand for."""
    if operation.aliases.keys().isdisjoint(value):
        return value
    renamed = {key: item for key, item in value.items() if key not in operation.aliases}
    for alias, name in operation.aliases.items():
        if alias in value and renamed.setdefault(name, value[alias]) != value[alias]:
            message = f"{name} and {alias} are the same field and have different values; send one of them"
            raise invalid("INVALID_REQUEST", message, field=alias)
    return renamed


def decode_query(query_string: bytes, operation: Operation) -> Any:
    """The query in the operation's type; a name given twice is a list where the type wants one."""
    if operation.query is None:
        return None
    if not query_string:
        return _convert({}, operation.query, strict=False)
    values: dict[str, Any] = {}
    lists = _list_fields(operation.query)
    for written, text in _pairs(query_string):
        name = operation.query_aliases.get(written, written)
        if name in lists:
            values.setdefault(name, []).extend(part for part in text.split(",") if part)
        elif values.setdefault(name, text) != text:
            raise invalid("INVALID_REQUEST", f"The query parameter {name} has two different values", field=name)
    return _convert(values, operation.query, strict=False)


def _pairs(query_string: bytes) -> list[tuple[str, str]]:
    try:
        pairs = parse_qsl(
            query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_QUERY_FIELDS
        )
    except ValueError as error:
        raise invalid("INVALID_REQUEST", "The query string cannot be read; percent-encode it as UTF-8") from error
    if any("\0" in name or "\0" in text for name, text in pairs):
        raise invalid("INVALID_REQUEST", "The query string contains the NUL character")
    return pairs


_LISTS: dict[type[Any], frozenset[str]] = {}


def _list_fields(query: type[Any]) -> frozenset[str]:
    known = _LISTS.get(query)
    if known is None:
        found = (info.encode_name for info in msgspec.structs.fields(query) if _is_list(info.type))
        known = _LISTS[query] = frozenset(found)
    return known


def _is_list(annotation: Any) -> bool:
    return getattr(annotation, "__origin__", None) in (list, tuple)


def _convert(value: Any, wanted: type[Any], *, strict: bool) -> Any:
    try:
        return msgspec.convert(value, wanted, strict=strict)
    except msgspec.ValidationError as error:
        raise _explain(str(error)) from error


def _explain(text: str) -> InterlockError:
    """msgspec's words as one error with field and reason."""
    place = _PLACE.search(text)
    reason = _PLACE.sub("", text)
    field = place[1] if place else ""
    named = _NAMED_FIELD.search(reason)
    if named:
        field = f"{field}.{named[1]}" if field else named[1]
    message = f"{field}: {reason}" if field else reason
    return rule_broken(
        "VALIDATION_ERROR", message, field=field, reason=reason, errors=[{"field": field, "reason": reason}]
    )
