"""How a credential is refused."""

from __future__ import annotations

from interlock.core.errors import ErrorKind, InterlockError

_REQUIRED_AUTH = "Bearer token via Authorization header"


def refused(reason: str, message: str) -> InterlockError:
    """UNAUTHENTICATED; the reasons are missing_token, invalid_token, expired, email_not_confirmed and auth_failed."""
    details = {"reason": reason, "required_auth": _REQUIRED_AUTH}
    return InterlockError(ErrorKind.UNAUTHENTICATED, "AUTHENTICATION_FAILED", message, details=details)
