"""How a credential is refused: always as unauthenticated, with a reason that clients may branch on."""

from __future__ import annotations

from interlock.core.errors import ErrorKind, InterlockError

AUTH_FAILED = "AUTHENTICATION_FAILED"


def refused(reason: str, message: str) -> InterlockError:
    """401. ``reason`` is one of ``missing_token|invalid_token|invalid_api_key|client_disabled|invalid_signature``."""
    return InterlockError(ErrorKind.UNAUTHENTICATED, AUTH_FAILED, message, details={"reason": reason})
