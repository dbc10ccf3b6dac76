"""Keys from a setting: the same on every machine that serves."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from interlock.backends.secrets.key import KEY_BYTES, EncryptionKey


class GivenKeys:
    """The keys that follow from ``texts``, the newest first; of each text only its 256-bit digest is kept.

    A text must be random and of 32 bytes or more (the settings see to that), so that no slow derivation is needed.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        keys = [EncryptionKey.of(_material(text)) for text in texts]
        self._newest = keys[0]
        self._by_id = {key.key_id: key for key in keys}

    def newest(self) -> EncryptionKey:
        return self._newest

    def find(self, key_id: bytes) -> EncryptionKey | None:
        return self._by_id.get(key_id)


def _material(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=KEY_BYTES, person=b"interlock secret").digest()
