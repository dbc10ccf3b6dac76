"""What the database is told about a caller, in the words of Supabase: the claims of one transaction."""

from __future__ import annotations

import msgspec

from interlock.backends.store.postgres.queries import load
from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.principal import Principal

_SQL = load("session")

NO_CLAIMS = "{}"
"""Claims of nobody: row-level security shows no row."""


def claims_of(principal: Principal) -> str:
    """The claims as JSON text, equal for callers who see the same rows.

    Raises UNAUTHENTICATED for a principal without tenant or subject, or with text that Postgres cannot hold.
    """
    texts = (principal.subject, principal.tenant_id, principal.email or "", principal.role)
    if not principal.subject or not principal.tenant_id or any("\0" in text for text in texts):
        raise _unusable()
    claims = {
        "sub": principal.subject,
        "role": "authenticated",
        "tenant_id": principal.tenant_id,
        "email": principal.email,
        "interlock_role": principal.role,
    }
    try:
        return msgspec.json.encode(claims).decode()
    except ValueError as error:  # a lone surrogate
        raise _unusable() from error


def begin(claims: str, *, read_only: bool) -> str:
    """The text that opens a transaction under ``claims``: one message, so one round trip.

    It takes no parameters, so the claims are quoted here; that is safe because strings are plain
    (``standard_conforming_strings``, checked when the store opens) and JSON text holds no NUL.
    """
    return _SQL["begin_read" if read_only else "begin_write"].replace("$1", "'" + claims.replace("'", "''") + "'")


def _unusable() -> InterlockError:
    return InterlockError(
        ErrorKind.UNAUTHENTICATED,
        "AUTHENTICATION_FAILED",
        "The credential names no tenant and subject that the database could hold",
        details={"reason": "invalid_token"},
    )
