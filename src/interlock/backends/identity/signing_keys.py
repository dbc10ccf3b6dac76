"""The keys a server signs its own tokens with: made at its first start, kept in one private file, never a default."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from interlock.core.errors import ErrorKind, InterlockError
from interlock.kit.clock import Clock

GRACE = timedelta(hours=24)
"""A key is valid for this long after the next one was made."""
_SECRET_BYTES = 48


class SigningKey(msgspec.Struct, frozen=True):
    """One key. ``kid`` names it in tokens and is no secret."""

    kid: str
    secret: str
    created_at: datetime

    def __repr__(self) -> str:
        return f"SigningKey({self.kid})"


def _random_text() -> str:
    return secrets.token_urlsafe(_SECRET_BYTES)


class SigningKeys:
    """The keys in ``path``, oldest first; the newest signs. Other processes may rotate them at any time.

    ``make_secret`` makes what a new key keeps secret, as text.
    """

    def __init__(self, path: Path, clock: Clock, make_secret: Callable[[], str] = _random_text) -> None:
        self._path = path
        self._clock = clock
        self._make_secret = make_secret
        self._keys: list[SigningKey] = []
        self._read_version: tuple[int, int] | None = None

    def open(self) -> None:
        """Read the keys, or make the first one. Raises UNAVAILABLE for a file that others may read, or a broken one."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._path.exists():
                self._create([self._new()])
        except OSError as error:
            raise self._unusable(f"cannot be made: {error.strerror or error}") from error
        self._refresh()

    def newest(self) -> SigningKey:
        """The key to sign with."""
        self._refresh()
        return self._keys[-1]

    def find(self, kid: str) -> SigningKey | None:
        """The key ``kid`` if it is still valid, also if another process has made it just now."""
        self._refresh()
        return next((key for key in self._valid() if key.kid == kid), None)

    def valid(self) -> list[SigningKey]:
        """The keys whose signatures count now, the one that signs last."""
        self._refresh()
        return self._valid()

    def rotate(self) -> SigningKey:
        """A new key signs from now on. Those before stay valid for 24 h after they were replaced, and then go."""
        self._refresh()
        new = self._new()
        self._replace([*self._valid(), new])
        self._refresh()
        return new

    def _valid(self) -> list[SigningKey]:
        now = self._clock.now()
        replaced_at = [*(key.created_at for key in self._keys[1:]), now]
        return [key for key, at in zip(self._keys, replaced_at, strict=True) if now < at + GRACE]

    def _new(self) -> SigningKey:
        return SigningKey(secrets.token_hex(8), self._make_secret(), self._clock.now())

    def _refresh(self) -> None:
        """Read the file if it is not the one that was read last."""
        try:
            found = self._path.stat()
            version = (found.st_mtime_ns, found.st_ino)
            if version == self._read_version:
                return
            self._refuse_open_file(found.st_mode)
            keys = msgspec.json.decode(self._path.read_bytes(), type=list[SigningKey])
        except (OSError, msgspec.MsgspecError) as error:
            raise self._unusable(f"cannot be read: {error}") from error
        if not keys:
            raise self._unusable("holds no key")
        self._keys, self._read_version = keys, version

    def _refuse_open_file(self, mode: int) -> None:
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise self._unusable("may be read by other users; run chmod 600 on it, or remove it to make new keys")

    def _create(self, keys: list[SigningKey]) -> None:
        draft = self._draft(keys)
        try:
            os.link(draft, self._path)  # unlike a rename, it leaves the keys of a process that was faster
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        self._sync_folder()

    def _replace(self, keys: list[SigningKey]) -> None:
        self._draft(keys).replace(self._path)
        self._sync_folder()

    def _draft(self, keys: list[SigningKey]) -> Path:
        draft = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(keys)))
            file.flush()
            os.fsync(file.fileno())
        return draft

    def _sync_folder(self) -> None:
        descriptor = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _unusable(self, problem: str) -> InterlockError:
        message = f"The file of signing keys {self._path} {problem}."
        return InterlockError(ErrorKind.UNAVAILABLE, "SIGNING_KEYS_UNUSABLE", message)
