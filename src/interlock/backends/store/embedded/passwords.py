"""The passwords of the embedded database: random, made once, kept in one file only its owner can read."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

from interlock.core.errors import ErrorKind, InterlockError


@dataclass(frozen=True)
class Passwords:
    """One password per login role; never part of a repr."""

    superuser: str = field(repr=False)
    owner: str = field(repr=False)
    server: str = field(repr=False)


def read_passwords(path: Path, cluster: Path) -> Passwords:
    """The kept passwords of the database in ``cluster``; UNAVAILABLE, saying what to do, if they cannot be read."""
    try:
        return Passwords(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        message = (
            f"cannot read the passwords of the embedded database from {path} ({error}). "
            f"Restore that file, or remove {cluster} and with it all that is stored there."
        )
        raise InterlockError(ErrorKind.UNAVAILABLE, "EMBEDDED_PASSWORDS_LOST", message) from error


def make_passwords(path: Path) -> Passwords:
    """New passwords, on disk (mode 0600) before anything can depend on them."""
    passwords = Passwords(*(secrets.token_urlsafe(32) for _ in range(3)))
    half = path.with_name(f"{path.name}.half")
    half.unlink(missing_ok=True)
    with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(asdict(passwords), file)
        file.flush()
        os.fsync(file.fileno())
    half.rename(path)
    sync_directory(path.parent)
    return passwords


def sync_directory(path: Path) -> None:
    """Make a rename in ``path`` survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
