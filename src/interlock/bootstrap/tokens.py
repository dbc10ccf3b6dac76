"""Tokens of the local user, without the rest of a server."""

from __future__ import annotations

from pathlib import Path

from interlock.backends.identity.local import KEY_FILE, LocalIdentity
from interlock.core.errors import ErrorKind, InterlockError
from interlock.kit.clock import SystemClock


def mint_token(data_dir: Path) -> str:
    """A token for the local user, signed by the newest key of a data directory.

    Raises NOT_FOUND where no server has made a key yet, UNAVAILABLE for a key that cannot be read.
    """
    if not (data_dir / KEY_FILE).exists():
        raise InterlockError(
            ErrorKind.NOT_FOUND,
            "NO_SIGNING_KEY",
            f"No server has made a key in {data_dir} yet, so no token can be signed",
            details={"next": "Name the server's data directory with INTERLOCK_DATA_DIR or `interlock token --data`."},
        )
    identity = LocalIdentity(data_dir, SystemClock())
    identity.open()
    return identity.mint()
