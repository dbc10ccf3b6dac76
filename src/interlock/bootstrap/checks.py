"""What makes a start unsafe, and the checks of ``interlock doctor``."""

from __future__ import annotations

from typing import Any

from interlock.core.errors import ErrorKind, InterlockError

OLDEST_POSTGRES = 150000


def unsafe(found: dict[str, Any], *, allow_unsafe_commit: bool) -> list[str]:
    """Sentences that say why this database must not be served from, each with its remedy."""
    reasons = []
    if found["synchronous_commit"] not in ("on", "remote_write", "remote_apply") and not allow_unsafe_commit:
        reasons.append(
            f"synchronous_commit is {found['synchronous_commit']}: acknowledged work could be lost. Turn it on, or "
            "say INTERLOCK_ALLOW_UNSAFE_COMMIT=true"
        )
    if found["is_super"]:
        reasons.append(
            "the serving role is a superuser or bypasses row-level security: tenants would not be separated. "
            "Serve as a role that owns nothing"
        )
    if found["is_owner"]:
        reasons.append(
            "the serving role owns the schema: it could drop its own walls. Serve as another role than the one "
            "that migrates"
        )
    if found["version"] < OLDEST_POSTGRES:
        reasons.append(f"Postgres {found['version'] // 10000} is too old: 15 or newer is needed")
    return reasons


def refuse_unsafe(found: dict[str, Any], *, allow_unsafe_commit: bool) -> None:
    """Raise RULE with all reasons."""
    reasons = unsafe(found, allow_unsafe_commit=allow_unsafe_commit)
    if reasons:
        raise InterlockError(ErrorKind.RULE, "DATABASE_UNSAFE", "Refusing to start: " + "; ".join(reasons))
