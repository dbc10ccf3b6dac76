"""The door's prefix and the words it refuses with."""

from __future__ import annotations

from typing import Any

import msgspec

from interlock.core.errors import ErrorKind
from interlock.doors.http.plumbing.operation import Door, Refusal

_ERROR_CODES = {
    "AUTHENTICATION_FAILED": "bad_jwt",
    "RATE_LIMIT_EXCEEDED": "over_request_rate_limit",
    "VALIDATION_ERROR": "validation_failed",
    "INVALID_JSON": "bad_json",
    "INTERNAL_SERVER_ERROR": "unexpected_failure",
}
_GRANT = {
    "INVALID_CREDENTIALS",
    "EMAIL_NOT_CONFIRMED",
    "USER_BANNED",
    "REFRESH_TOKEN_NOT_FOUND",
    "REFRESH_TOKEN_ALREADY_USED",
}
_WORDS = {
    ErrorKind.UNAUTHENTICATED: "unauthorized",
    ErrorKind.DENIED: "access_denied",
    ErrorKind.NOT_FOUND: "not_found",
    ErrorKind.LIMITED: "rate_limited",
    ErrorKind.UNAVAILABLE: "temporarily_unavailable",
    ErrorKind.TIMEOUT: "temporarily_unavailable",
    ErrorKind.INTERNAL: "server_error",
}


class IdentityError(msgspec.Struct, kw_only=True):
    """The envelope of every refusal: clients branch on ``error_code``, older ones on ``error``."""

    code: int
    error_code: str
    error: str
    error_description: str
    msg: str


def envelope(refusal: Refusal) -> dict[str, Any]:
    """The body of a refused request."""
    error = refusal.error
    code = _ERROR_CODES.get(error.code, error.code.lower())
    if error.kind is ErrorKind.UNAUTHENTICATED and error.details.get("reason") == "missing_token":
        code = "no_authorization"
    return {
        "code": refusal.status,
        "error_code": code,
        "error": "invalid_grant" if error.code in _GRANT else _WORDS.get(error.kind, "invalid_request"),
        "error_description": error.message,
        "msg": error.message,
    }


IDENTITY = Door(name="identity", prefixes=("/auth/v1",), envelope=envelope, rule_status=422)
