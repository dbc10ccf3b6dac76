"""The keys a server signs its own tokens with: made at its first start, kept in one private file, never a default."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from interlock.core.errors import ErrorKind, InterlockError
from interlock.kit.clock import Clock
from interlock.kit.private_file import OpenToOthers, PrivateFile, Version

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
        self._file = PrivateFile(path)
        self._clock = clock
        self._make_secret = make_secret
        self._keys: list[SigningKey] = []
        self._read_version: Version | None = None

    def open(self) -> None:
        """Read the keys, or make the first one. Raises UNAVAILABLE for a file that others may read, or a broken one."""
        try:
            self._file.create(_encoded([self._new()]))
        except OSError as error:
            raise self._unusable(f"cannot be made: {error.strerror or error}") from error
        self._refresh()

    def newest(self) -> SigningKey:
        """The key to sign with."""
        self._refresh()
        return self._keys[-1]

    def find(self, kid: str) -> SigningKey | None:
        """The key ``kid`` if it is still valid, also if another process has made it just now."""
        return next((key for key in self.valid() if key.kid == kid), None)

    def valid(self) -> list[SigningKey]:
        """The keys whose signatures count now, the one that signs last."""
        self._refresh()
        return self._valid()

    def rotate(self, *, if_older_than: timedelta = timedelta(0), keeps_older: bool = True) -> SigningKey:
        """A new key signs from now on, unless the newest is younger than that: of many processes one makes it.

        Those before stay valid for 24 h after they were replaced, and then go; or they go at once.
        """
        with self._file.turn():
            self._refresh()
            if self._clock.now() >= self._keys[-1].created_at + if_older_than:
                older = self._valid() if keeps_older else []
                self._file.replace(_encoded([*older, self._new()]))
                self._refresh()
        return self._keys[-1]

    def _valid(self) -> list[SigningKey]:
        now = self._clock.now()
        replaced_at = [*(key.created_at for key in self._keys[1:]), now]
        return [key for key, at in zip(self._keys, replaced_at, strict=True) if now < at + GRACE]

    def _new(self) -> SigningKey:
        return SigningKey(secrets.token_hex(8), self._make_secret(), self._clock.now())

    def _refresh(self) -> None:
        """Read the file if it is not the one that was read last."""
        try:
            version = self._file.version()
            if version == self._read_version:
                return
            keys = msgspec.json.decode(self._file.read(), type=list[SigningKey])
        except OpenToOthers as error:
            problem = "may be read by other users; run chmod 600 on it, or remove it to make new keys"
            raise self._unusable(problem) from error
        except (OSError, msgspec.MsgspecError) as error:
            raise self._unusable(f"cannot be read: {error}") from error
        if not keys:
            raise self._unusable("holds no key")
        self._keys, self._read_version = keys, version

    def _unusable(self, problem: str) -> InterlockError:
        message = f"The file of signing keys {self._file.path} {problem}."
        return InterlockError(ErrorKind.UNAVAILABLE, "SIGNING_KEYS_UNUSABLE", message)


def _encoded(keys: list[SigningKey]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(keys))
