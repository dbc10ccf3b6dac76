"""What makes a start unsafe, and the checks of ``interlock doctor``."""

from __future__ import annotations

from typing import Any

from interlock.config import Settings
from interlock.core.errors import ErrorKind, InterlockError
from interlock.kit.hosts import in_url, is_loopback
from interlock.setting_values import MAKE_A_KEY, is_guessable

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


def refuse_private_blobs(settings: Settings, *, embedded: bool) -> None:
    """Raise RULE if other servers on the same database might not see the large values of this one."""
    if settings.blobs_dir is not None and not embedded and not settings.blobs_dir_is_shared:
        raise InterlockError(
            ErrorKind.RULE,
            "SETTINGS_BLOBS_DIR",
            f"Large values would be kept in {settings.blobs_dir}, which other servers on this database may not see",
            details={
                "next": "Leave INTERLOCK_BLOBS_DIR out, name a bucket with INTERLOCK_BLOBS_URL, or mount the same "
                "folder for all of them and say INTERLOCK_BLOBS_DIR_IS_SHARED=true."
            },
        )


def has_directory(settings: Settings) -> bool:
    """Whether people log in to the built-in directory, and not with an issuer that the settings name."""
    names_keys = settings.jwt_secret_key is not None or settings.jwks_url is not None
    return settings.supabase_url is None and (settings.jwt_issuer is None or not names_keys)


def takes_local_tokens(settings: Settings) -> bool:
    """Whether tokens count that this machine's commands sign with a key in the data directory.

    Without them nobody could make the first account of the built-in directory; with an issuer elsewhere it names the
    administrators.
    """
    if settings.local_tokens is not None:
        return settings.local_tokens
    return settings.local or has_directory(settings)


def missing_secrets(settings: Settings) -> list[str]:
    """The secrets that this server may not make by itself and was not given, one sentence each.

    Local mode makes all of them in the data directory; elsewhere several processes must agree on them. Also those that
    anybody could guess: whoever knows the secret of an issuer makes tokens of anybody.
    """
    if settings.local:
        return []
    wanted = {
        "INTERLOCK_API_SECRET_KEY": (settings.api_secret_key, "hashes API keys"),
        "INTERLOCK_ENCRYPTION_KEY": (settings.encryption_key, "seals stored secrets"),
    }
    if has_directory(settings):
        wanted["INTERLOCK_JWT_SECRET_KEY"] = (settings.jwt_secret_key, "signs the tokens of people")
    problems = [f"{name} is missing; it {purpose}" for name, (value, purpose) in wanted.items() if value is None]
    signers = {
        "INTERLOCK_JWT_SECRET_KEY": settings.jwt_secret_key,
        "INTERLOCK_SUPABASE_JWT_SECRET": settings.supabase_jwt_secret,
    }
    for name, key in signers.items():
        if key is not None and is_guessable(key.get_secret_value()):
            elsewhere = "" if has_directory(settings) else "; change it where tokens are signed with it, too"
            problems.append(f"{name} is too easy to guess{elsewhere}")
    return problems


def refuse_missing_secrets(settings: Settings) -> None:
    """Raise RULE with all secrets that are missing and how to make one."""
    problems = missing_secrets(settings)
    if problems:
        raise InterlockError(
            ErrorKind.RULE,
            "SETTINGS_SECRET_MISSING",
            "Refusing to start without the secrets of this installation: " + "; ".join(problems),
            details={"next": f"Make each one with `{MAKE_A_KEY}`, the same for all replicas, or use --local."},
        )
