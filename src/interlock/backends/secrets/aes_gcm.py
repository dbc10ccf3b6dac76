"""Sealing with AES-256-GCM."""

from __future__ import annotations

import secrets

from cryptography.exceptions import InvalidTag

from interlock.backends.secrets.key import ID_BYTES, KeyRing
from interlock.core.errors import ErrorKind, InterlockError

FORMAT = b"\x01"
NONCE_BYTES = 12
TAG_BYTES = 16
_BODY = len(FORMAT) + ID_BYTES
_LEAST = _BODY + NONCE_BYTES + TAG_BYTES


class AesGcmSecrets:
    """Satisfies ``ports/secrets.Secrets``.

    A sealed value is the format (1 byte), the id of its key (8), a random nonce (12), the ciphertext and its tag
    (16). Format, key id, tenant and name are authenticated with it. Nonces are random: a key is good for 2^32 values.
    """

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    def seal(self, tenant_id: str, name: str, plain: bytes) -> bytes:
        key = self._keys.newest()
        head = FORMAT + key.key_id
        nonce = secrets.token_bytes(NONCE_BYTES)
        return head + nonce + key.cipher.encrypt(nonce, plain, _place(head, tenant_id, name))

    def open(self, tenant_id: str, name: str, sealed: bytes) -> bytes:
        if len(sealed) < _LEAST or sealed[:1] != FORMAT:
            raise _unreadable("is not in a form that this server writes")
        head, nonce = sealed[:_BODY], sealed[_BODY : _BODY + NONCE_BYTES]
        key = self._keys.find(head[len(FORMAT) :])
        if key is None:
            raise _unknown_key(head[len(FORMAT) :])
        try:
            return key.cipher.decrypt(nonce, sealed[_BODY + NONCE_BYTES :], _place(head, tenant_id, name))
        except InvalidTag as error:
            raise _unreadable("was changed, or belongs to another tenant or name") from error

    def is_current(self, sealed: bytes) -> bool:
        return sealed[:_BODY] == FORMAT + self._keys.newest().key_id


def _place(head: bytes, tenant_id: str, name: str) -> bytes:
    """What is authenticated beside the value; the length in between keeps ``a`` + ``bc`` apart from ``ab`` + ``c``."""
    tenant = tenant_id.encode()
    return head + len(tenant).to_bytes(4, "big") + tenant + name.encode()


def _unknown_key(key_id: bytes) -> InterlockError:
    return InterlockError(
        ErrorKind.UNAVAILABLE,
        "SECRET_KEY_UNKNOWN",
        f"A stored secret was sealed with the key {key_id.hex()}, which this server does not have",
        details={"next": "Give the server its former keys too: behind the new one, separated by a comma."},
    )


def _unreadable(problem: str) -> InterlockError:
    return InterlockError(ErrorKind.UNAVAILABLE, "SECRET_UNREADABLE", f"A stored secret {problem}")
