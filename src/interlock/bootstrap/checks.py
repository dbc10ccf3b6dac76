"""What makes a start unsafe, and the checks of ``interlock doctor``."""

from __future__ import annotations

from typing import Any

from interlock.config import Settings
from interlock.core.errors import ErrorKind, InterlockError
from interlock.kit.hosts import in_url, is_loopback

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
        raise InterlockError(
            ErrorKind.RULE,
            "DATABASE_UNSAFE",
            "Refusing to start: " + "; ".join(reasons),
            details={"next": "Mend that, then look again with `interlock doctor`."},
        )


def is_exposed(settings: Settings) -> bool:
    """Whether local mode, which asks for no credentials, would listen where other machines reach it."""
    return settings.local and not is_loopback(settings.host)


def refuse_exposed(settings: Settings) -> None:
    """Raise RULE unless local mode stays on this machine or was explicitly allowed to leave it."""
    if is_exposed(settings) and not settings.local_allow_remote:
        raise InterlockError(
            ErrorKind.RULE,
            "SETTINGS_LOCAL_REMOTE",
            f"Local mode asks for no credentials and stays on this machine; others can reach {in_url(settings.host)}",
            details={
                "next": "Leave --host out, or allow it with --local-allow-remote (INTERLOCK_LOCAL_ALLOW_REMOTE=true)."
            },
        )
