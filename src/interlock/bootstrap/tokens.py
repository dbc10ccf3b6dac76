"""Tokens of the local user, without the rest of a server."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from interlock.backends.identity.local import KEY_FILE, LocalIdentity
from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.principal import LOCAL_TENANT, Scope
from interlock.kit.clock import SystemClock

_ADMIN_LIFETIME = timedelta(minutes=5)


def mint_token(data_dir: Path) -> str:
    """A token for the local user, signed by the newest key of a data directory.

    Raises NOT_FOUND where no server has made a key yet, UNAVAILABLE for a key that cannot be read.
    """
    return _signer(data_dir).mint()


def mint_admin_token(data_dir: Path, tenant: str = LOCAL_TENANT) -> str:
    """A token of five minutes that administers ``tenant``: whoever reads the key may do anything here anyway.

    Raises the same.
    """
    return _signer(data_dir).mint(tenant=tenant, scopes=frozenset(Scope), ttl=_ADMIN_LIFETIME)


def rotate_token_key(data_dir: Path) -> None:
    """From now on a new key signs; within 5 s no server takes a token of before. Raises the same."""
    _signer(data_dir).rotate()


def _signer(data_dir: Path) -> LocalIdentity:
    _require_key(data_dir)
    identity = LocalIdentity(data_dir, SystemClock())
    identity.open()
    return identity


def _require_key(data_dir: Path) -> None:
    if not (data_dir / KEY_FILE).exists():
        raise InterlockError(
            ErrorKind.NOT_FOUND,
            "NO_SIGNING_KEY",
            f"No server has made a key in {data_dir} yet, so no token can be signed",
            details={
                "next": "Name the server's data directory with INTERLOCK_DATA_DIR or `interlock token --data`. Where "
                "people log in elsewhere no tokens of this machine are taken: put an administrator's into "
                "INTERLOCK_TOKEN."
            },
        )
