"""A key and where keys come from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
ID_BYTES = 8


@dataclass(frozen=True, slots=True)
class EncryptionKey:
    """256 bits. ``key_id`` follows from them, so that every process names a key alike; it is no secret."""

    key_id: bytes
    cipher: AESGCM

    @classmethod
    def of(cls, material: bytes) -> EncryptionKey:
        """The key of exactly 32 random bytes."""
        return cls(
            hashlib.blake2b(material, digest_size=ID_BYTES, person=b"interlock key id").digest(), AESGCM(material)
        )

    def __repr__(self) -> str:
        return f"EncryptionKey({self.key_id.hex()})"


class KeyRing(Protocol):
    """The keys a server has."""

    def newest(self) -> EncryptionKey:
        """The key to seal with."""
        ...

    def find(self, key_id: bytes) -> EncryptionKey | None:
        """The key with this id, also if another process has made it just now."""
        ...
