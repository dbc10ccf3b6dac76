"""Keys in the data directory: made at the first start, kept in one private file, rotated by command."""

from __future__ import annotations

import base64
import secrets
from datetime import datetime
from pathlib import Path

import msgspec

from interlock.backends.secrets.key import KEY_BYTES, EncryptionKey
from interlock.core.errors import ErrorKind, InterlockError
from interlock.kit.clock import Clock
from interlock.kit.private_file import OpenToOthers, PrivateFile, Version

FILE_NAME = "encryption_keys.json"


class StoredKey(msgspec.Struct, frozen=True):
    """One key as it stands in the file."""

    key_id: str
    material: str
    created_at: datetime

    def __repr__(self) -> str:
        return f"StoredKey({self.key_id})"


class KeyFile:
    """The keys in a data directory, oldest first; the newest seals. Other processes may rotate them at any time."""

    def __init__(self, data_dir: Path, clock: Clock) -> None:
        self._file = PrivateFile(data_dir / FILE_NAME)
        self._clock = clock
        self._stored: list[StoredKey] = []
        self._by_id: dict[bytes, EncryptionKey] = {}
        self._newest: EncryptionKey | None = None
        self._read_version: Version | None = None

    def open(self) -> None:
        """Read the keys, or make the first one. Raises UNAVAILABLE for a file that others may read, or a broken one."""
        try:
            self._file.create(_encoded([self._new()]))
        except OSError as error:
            raise self._unusable(f"cannot be made: {error.strerror or error}") from error
        self._refresh()

    def newest(self) -> EncryptionKey:
        """The key to seal with. Raises UNAVAILABLE if the file became unusable."""
        self._refresh()
        if self._newest is None:
            raise self._unusable("was not opened")
        return self._newest

    def find(self, key_id: bytes) -> EncryptionKey | None:
        """The key with this id; the file is read again only if the key is not known yet."""
        if key_id not in self._by_id:
            self._refresh()
        return self._by_id.get(key_id)

    def rotate(self) -> str:
        """A new key seals from now on, in every process over this file; its id. All others stay for reading."""
        new = self._new()
        with self._file.turn():
            self._refresh()
            self._write([*self._stored, new])
        return new.key_id

    def key_ids(self) -> list[str]:
        """The ids of all keys, the newest last."""
        self._refresh()
        return [key.key_id for key in self._stored]

    def forget_older(self) -> list[str]:
        """Throw away all keys but the newest; their ids. What they sealed can never be read again."""
        with self._file.turn():
            self._refresh()
            gone = [key.key_id for key in self._stored[:-1]]
            if gone:
                self._write(self._stored[-1:])
        return gone

    def _new(self) -> StoredKey:
        material = secrets.token_bytes(KEY_BYTES)
        name = EncryptionKey.of(material).key_id.hex()
        return StoredKey(name, base64.b64encode(material).decode(), self._clock.now())

    def _write(self, keys: list[StoredKey]) -> None:
        try:
            self._file.replace(_encoded(keys))
        except OSError as error:
            raise self._unusable(f"cannot be written: {error.strerror or error}") from error
        self._refresh()

    def _refresh(self) -> None:
        """Read the file if it is not the one that was read last."""
        try:
            version = self._file.version()
            if version == self._read_version:
                return
            stored = msgspec.json.decode(self._file.read(), type=list[StoredKey])
            keys = [EncryptionKey.of(base64.b64decode(key.material, validate=True)) for key in stored]
        except OpenToOthers as error:
            raise self._unusable("may be read by other users; run chmod 600 on it") from error
        except (OSError, ValueError) as error:  # the text of a ValueError could quote a key
            raise self._unusable(f"cannot be read ({type(error).__name__})") from error
        if not keys or any(key.key_id.hex() != told.key_id for key, told in zip(keys, stored, strict=True)):
            raise self._unusable("holds no keys, or one that was changed")
        self._stored, self._by_id = stored, {key.key_id: key for key in keys}
        self._newest, self._read_version = keys[-1], version

    def _unusable(self, problem: str) -> InterlockError:
        message = f"The file of encryption keys {self._file.path} {problem}"
        remedy = "Put back the file from a backup; without its keys the stored secrets cannot be read"
        return InterlockError(ErrorKind.UNAVAILABLE, "ENCRYPTION_KEYS_UNUSABLE", message, details={"next": remedy})


def _encoded(keys: list[StoredKey]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(keys))
