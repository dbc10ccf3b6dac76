"""The door's prefix, its errors in OpenAI's shape, and the headers by which its clients decide whether to try again."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.models.addresses import FIELD_NOT_ALLOWED
from interlock.doors.http.plumbing.operation import Door, Refusal

_TYPES: dict[ErrorKind, str] = {
    ErrorKind.UNAUTHENTICATED: "authentication_error",
    ErrorKind.DENIED: "permission_error",
    ErrorKind.NOT_FOUND: "not_found_error",
    ErrorKind.LIMITED: "rate_limit_error",
    ErrorKind.EXTERNAL: "upstream_error",
    ErrorKind.UNAVAILABLE: "server_error",
    ErrorKind.TIMEOUT: "server_error",
    ErrorKind.INTERNAL: "server_error",
}
_WORTH_A_TRY = frozenset({ErrorKind.LIMITED, ErrorKind.UNAVAILABLE, ErrorKind.TIMEOUT, ErrorKind.INTERNAL})

_LASTING = ("BUDGET_EXCEEDED", "LLM_NOT_CONFIGURED")


class ModelErrorBody(msgspec.Struct):
    """What went wrong: ``code`` is what programs may branch on, ``param`` the field it is about."""

    message: str
    type: str
    param: str | None
    code: str


class ModelError(msgspec.Struct):
    """The envelope of every refusal."""

    error: ModelErrorBody


def error_object(error: InterlockError) -> dict[str, Any]:
    """An error in OpenAI's shape, for envelopes and for streams."""
    kind = "insufficient_quota" if error.code == "BUDGET_EXCEEDED" else _TYPES.get(error.kind, "invalid_request_error")
    return {
        "message": error.message,
        "type": kind,
        "param": error.details.get("field"),
        "code": error.details.get("provider_code") or error.code.lower(),
    }


def envelope(refusal: Refusal) -> dict[str, Any]:
    """The body of a refused request."""
    return {"error": error_object(refusal.error)}


def error_headers(error: InterlockError) -> tuple[tuple[bytes, bytes], ...]:
    """Whether the same request may succeed, and when: OpenAI's clients obey both."""
    is_passing = (error.retryable or error.kind in _WORTH_A_TRY) and error.code not in _LASTING
    headers = [(b"x-should-retry", b"true" if is_passing else b"false")]
    if error.retry_after is not None:
        headers.append((b"retry-after-ms", b"%d" % math.ceil(error.retry_after * 1000)))
    return tuple(headers)


def status_of_field(error: InterlockError) -> int | None:
    """422 for a field that nobody may send; None for all else."""
    return 422 if error.code == FIELD_NOT_ALLOWED else None


MODELS = Door(
    name="models",
    prefixes=("/v1",),
    envelope=envelope,
    rule_status=400,
    answers_misses=True,
    owns=("/v1/",),
    error_headers=error_headers,
)
