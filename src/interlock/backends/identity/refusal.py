"""How a credential is refused."""

from __future__ import annotations

from interlock.core.errors import ErrorKind, InterlockError


def refused(reason: str, message: str) -> InterlockError:
    """UNAUTHENTICATED with one of the reasons ``missing_token|invalid_token|expired|email_not_confirmed|auth_failed``."""
    return InterlockError(ErrorKind.UNAUTHENTICATED, "AUTHENTICATION_FAILED", message, details={"reason": reason})
