"""The app door's prefixes and the words it refuses with."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from interlock.core.errors import ErrorKind, InterlockError, not_found
from interlock.doors.http.app.statuses import status_out
from interlock.doors.http.plumbing.operation import Door, Refusal
from interlock.services.executions.signal import ENDED_ALREADY

_WORDS: dict[ErrorKind, str] = {
    ErrorKind.INVALID: "validation_error",
    ErrorKind.RULE: "validation_error",
    ErrorKind.TOO_LARGE: "validation_error",
    ErrorKind.UNSUPPORTED_MEDIA: "validation_error",
    ErrorKind.UNAUTHENTICATED: "unauthorized",
    ErrorKind.DENIED: "forbidden",
    ErrorKind.NOT_FOUND: "not_found",
    ErrorKind.GONE: "not_found",
    ErrorKind.CONFLICT: "conflict",
    ErrorKind.MISMATCH: "conflict",
    ErrorKind.PRECONDITION: "conflict",
    ErrorKind.LIMITED: "rate_limit_exceeded",
    ErrorKind.EXTERNAL: "external_service_error",
    ErrorKind.UNAVAILABLE: "service_unavailable",
    ErrorKind.TIMEOUT: "timeout",
    ErrorKind.INTERNAL: "internal_server_error",
}
_ON_TOP = ("reason", "required_auth", "required_scopes", "your_scopes")
_ON_TOP_OF_LIMITS = ("limit", "current", "reset_time", "retry_after")


class AppError(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The envelope of every refusal; ``error_code`` is what clients may branch on."""

    success: bool
    error: str
    error_code: str
    message: str
    timestamp: str
    path: str
    method: str
    request_id: str
    trace_id: str
    retryable: bool
    details: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    reason: str | msgspec.UnsetType = msgspec.UNSET
    required_auth: str | msgspec.UnsetType = msgspec.UNSET
    required_scopes: list[str] | msgspec.UnsetType = msgspec.UNSET
    your_scopes: list[str] | msgspec.UnsetType = msgspec.UNSET
    limit: int | msgspec.UnsetType = msgspec.UNSET
    current: int | msgspec.UnsetType = msgspec.UNSET
    reset_time: int | msgspec.UnsetType = msgspec.UNSET
    retry_after: int | msgspec.UnsetType = msgspec.UNSET


def envelope(refusal: Refusal) -> dict[str, Any]:
    """The body of a refused request."""
    error = refusal.error
    on_top = _ON_TOP if error.kind in (ErrorKind.UNAUTHENTICATED, ErrorKind.DENIED) else ()
    on_top = _ON_TOP_OF_LIMITS if error.kind is ErrorKind.LIMITED else on_top
    details = {key: value for key, value in _details(error).items() if key not in on_top}
    return {
        "success": False,
        "error": _WORDS[error.kind],
        "error_code": error.code,
        "message": error.message,
        "timestamp": refusal.timestamp,
        "path": refusal.path,
        "method": refusal.method,
        "request_id": refusal.request_id,
        "trace_id": refusal.trace_id,
        "retryable": error.retryable,
        **({"details": details} if details else {}),
        **{key: error.details[key] for key in on_top if key in error.details},
    }


def _details(error: InterlockError) -> dict[str, Any]:
    """The details, with the status of an ended execution in this door's word."""
    if error.code != ENDED_ALREADY:
        return error.details
    cause = {"code": error.details.get("error_code")}
    return {**error.details, "status": status_out(error.details["status"], cause)}


APP = Door(name="app", prefixes=("/api/app", "/api/v1/app"), envelope=envelope, rule_status=400)


def read_id(text: str, noun: str) -> UUID:
    """The id in a path, plain or in the form of another door. Raises NOT_FOUND, as for every id that is not there."""
    try:
        return UUID(text.removeprefix("run_").removeprefix("sess_"))
    except ValueError:
        raise not_found("NOT_FOUND", f"There is no {noun} {text[:64]}") from None
