"""What every Ray of ours stands on: a token, a folder whose path is short enough, and an environment that is closed."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

_MAX_FOLDER = 40
"""Characters of a folder's path in which Ray can make its sockets; their paths are 107 at most."""
_QUIET = {
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # else a server under `uv run` has its folder copied to every worker
    "RAY_USAGE_STATS_ENABLED": "0",
}


def quiet(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which Ray tells nobody anything. Where to go is said otherwise than by it."""
    return {name: value for name, value in environment.items() if name != "RAY_ADDRESS"} | _QUIET


def with_token(environment: Mapping[str, str], token: Path) -> dict[str, str]:
    """An environment in which whoever reaches Ray needs the token of that file."""
    others = {name: value for name, value in environment.items() if name != "RAY_AUTH_TOKEN"}
    return {**others, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token.resolve())}


def on_loopback(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which all of Ray stays on 127.0.0.1; the switch has an odd name for that."""
    return {**environment, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


def keep_token(folder: Path) -> Path:
    """The file of a token in a folder; both are made if they are not there, for this user alone."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    token = folder / "token"
    if not token.exists():
        with os.fdopen(os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    return token


def clear(folder: Path) -> None:
    """Remove what Rays that are dead have left there."""
    for old in folder.glob("session_*"):
        old.unlink() if old.is_symlink() else shutil.rmtree(old, ignore_errors=True)


def short_folder(folder: Path) -> tuple[Path, bool]:
    """That folder, or another one that was made because its path is too long; whether it is another one."""
    if len(str(folder.resolve())) <= _MAX_FOLDER:
        return folder.resolve(), False
    return Path(tempfile.mkdtemp(prefix="ilk-")).resolve(), True
