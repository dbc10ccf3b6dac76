"""Tokens of the local user, without the rest of a server."""

from __future__ import annotations

from pathlib import Path

from interlock.backends.identity.local import LocalIdentity
from interlock.kit.clock import SystemClock


def mint_token(data_dir: Path) -> str:
    """A token for the local user, signed by the newest key of a data directory. Raises UNAVAILABLE."""
    identity = LocalIdentity(data_dir, SystemClock())
    identity.open()
    return identity.mint()
