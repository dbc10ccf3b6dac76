"""How a credential is refused: always as unauthenticated, with a reason that clients may branch on."""

from __future__ import annotations

from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.principal import Principal

AUTH_FAILED = "AUTHENTICATION_FAILED"


class KnownCallerRefused(InterlockError):
    """401 for a credential that is true and good no longer. ``principal`` is whose it was, for the audit log alone."""

    def __init__(self, principal: Principal, reason: str, message: str) -> None:
        super().__init__(ErrorKind.UNAUTHENTICATED, AUTH_FAILED, message, details={"reason": reason})
        self.principal = principal


def refused(reason: str, message: str) -> InterlockError:
    """401. ``reason`` is one of ``missing_token|invalid_token|invalid_api_key|client_disabled|invalid_signature``."""
    return InterlockError(ErrorKind.UNAUTHENTICATED, AUTH_FAILED, message, details={"reason": reason})
