"""The one error type of the house.

Every failure has a ``kind`` (which decides the status a door answers), a stable ``code`` (which clients may
rely on), a safe ``message``, optional ``details`` and whether trying again can help. Doors only shape it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any


class ErrorKind(StrEnum):
    """Why something was refused; each door maps a kind to its own status."""

    INVALID = "invalid"  # syntax: the request cannot be read
    RULE = "rule"  # schema or rule: it can be read and is not allowed
    UNAUTHENTICATED = "unauthenticated"
    DENIED = "denied"
    NOT_FOUND = "not_found"
    GONE = "gone"
    CONFLICT = "conflict"
    MISMATCH = "mismatch"  # the same idempotency key with another body
    PRECONDITION = "precondition"  # If-Match or an expected version does not hold
    TOO_LARGE = "too_large"
    UNSUPPORTED_MEDIA = "unsupported_media"
    LIMITED = "limited"
    EXTERNAL = "external"
    UNAVAILABLE = "unavailable"
    TIMEOUT = "timeout"
    INTERNAL = "internal"


class InterlockError(Exception):
    """A refusal or failure that may be shown to its caller as it is."""

    def __init__(
        self,
        kind: ErrorKind,
        code: str,
        message: str,
        *,
        details: dict[str, Any] | None = None,
        retryable: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.code = code
        self.message = message
        self.details = details or {}
        self.retryable = retryable
        self.retry_after = retry_after  # seconds


def invalid(code: str, message: str, **details: Any) -> InterlockError:
    """The request cannot be read (HTTP 400)."""
    return InterlockError(ErrorKind.INVALID, code, message, details=details)


def rule_broken(code: str, message: str, **details: Any) -> InterlockError:
    """The request can be read and breaks a schema or a rule (HTTP 400 or 422, by door)."""
    return InterlockError(ErrorKind.RULE, code, message, details=details)


def not_found(code: str, message: str, **details: Any) -> InterlockError:
    """The thing does not exist, or not for this caller (HTTP 404)."""
    return InterlockError(ErrorKind.NOT_FOUND, code, message, details=details)


def conflict(code: str, message: str, **details: Any) -> InterlockError:
    """The thing is not in a condition that allows this (HTTP 409)."""
    return InterlockError(ErrorKind.CONFLICT, code, message, details=details)


def unreadable(what: str) -> InterlockError:
    """What the database holds is not what a server wrote there (HTTP 500); nothing was done with it."""
    message = f"{what} cannot be read: it was changed in the database, or written by a newer server. Nothing was run."
    return InterlockError(ErrorKind.INTERNAL, "STORED_UNREADABLE", message)


def unavailable(message: str, *, retry_after: float = 1.0, code: str = "SERVICE_UNAVAILABLE") -> InterlockError:
    """The server cannot do it now; the same call may succeed later (HTTP 503 with Retry-After)."""
    return InterlockError(ErrorKind.UNAVAILABLE, code, message, retryable=True, retry_after=retry_after)
