"""API keys: how one is written, what is kept of it, and whether it is good now.

A key reads ``il_<env>_<public id>_<secret><checksum>``. The public id finds its row, the checksum lets a mistyped key
be refused without asking anybody, and of the secret only a keyed hash is kept.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import zlib
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from interlock.core.principal import Principal, Tier

LETTERS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PUBLIC_ID_LENGTH = 12
SECRET_LENGTH = 32
_CHECKSUM_LENGTH = 6
_KEY = re.compile(
    rf"il_[a-z]{{1,16}}_(?P<public_id>[0-9A-Za-z]{{{PUBLIC_ID_LENGTH}}})_"
    rf"[0-9A-Za-z]{{{SECRET_LENGTH}}}(?P<checksum>[0-9A-Za-z]{{{_CHECKSUM_LENGTH}}})"
)
KEY_SUBJECT = "key:"
"""What stands before the public id where a key is named as who did something."""
KEY_PREFIX = "il_"
WORDS: Final = {"local": "local", "development": "dev", "staging": "stage", "production": "prod"}
"""How each environment is called in a key."""


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is kept. ``digest`` is the keyed hash of the whole key; None where nobody needs it.

    ``expires_at`` of a key that was rotated is the end of its grace period; ``replaced_by`` is the key after it,
    ``payer`` the first one before it, whose budget it spends.
    None for ``allowed_tools`` and ``allowed_models`` means all.
    """

    key_id: UUID
    public_id: str
    tenant_id: str
    client_name: str
    scopes: tuple[str, ...]
    tier: Tier
    created_at: datetime
    created_by: str
    last4: str
    signing: bool = False
    digest: bytes | None = None
    allowed_tools: tuple[str, ...] | None = None
    allowed_models: tuple[str, ...] | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    replaced_by: UUID | None = None
    payer: UUID | None = None
    last_used_at: datetime | None = None

    def is_good(self, now: datetime) -> bool:
        """Whether the key opens anything at ``now``."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    @property
    def payer_id(self) -> UUID:
        """The key whose budget it spends: its own, or the one that it took the place of."""
        return self.payer or self.key_id

    def principal(self) -> Principal:
        """Who calls with this key."""
        return Principal(
            subject=f"{KEY_SUBJECT}{self.public_id}",
            tenant_id=self.tenant_id,
            scopes=frozenset(self.scopes),
            kind="key",
            tier=self.tier,
            key_id=self.key_id,
            payer_id=self.payer_id,
            allowed_models=_all_or(self.allowed_models),
            allowed_tools=_all_or(self.allowed_tools),
        )


class KeyFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which keys of a tenant. ``name`` is a part of the client's name; None means all."""

    name: str | None = None
    is_good: bool | None = None
    limit: int = 50
    offset: int = 0


def make_key(environment: str, choose: Callable[[str], str]) -> tuple[str, str]:
    """A new key and its public id. ``choose`` takes one of the letters, and nobody may be able to foresee which."""
    public_id, secret = ("".join(choose(LETTERS) for _ in range(count)) for count in (PUBLIC_ID_LENGTH, SECRET_LENGTH))
    return write_key(environment, public_id, secret), public_id


def write_key(environment: str, public_id: str, secret: str) -> str:
    """The key as its owner gets it. ``environment`` is a lower-case word, the others are base62 of fixed length."""
    body = f"{KEY_PREFIX}{environment}_{public_id}_{secret}"
    return body + _checksum(body)


def public_id_of(text: str) -> str | None:
    """The public id of a key that is written as ours are, with the right checksum; None for anything else."""
    found = _KEY.fullmatch(text)
    if found is None or not hmac.compare_digest(found["checksum"], _checksum(text[:-_CHECKSUM_LENGTH])):
        return None
    return found["public_id"]


def digest_of(text: str, pepper: bytes) -> bytes:
    """The keyed hash that is kept: HMAC-SHA256 of the whole key under the server's own secret."""
    return hmac.digest(pepper, text.encode(errors="surrogatepass"), hashlib.sha256)


def matches(text: str, digest: bytes, peppers: Sequence[bytes]) -> bool:
    """Whether ``digest`` is that of ``text`` under one of the peppers, in the same time for every wrong text."""
    found = [hmac.compare_digest(digest_of(text, pepper), digest) for pepper in peppers]
    return any(found)


def _checksum(body: str) -> str:
    """CRC32 in base62, most significant digit first."""
    number = zlib.crc32(body.encode())
    digits = ""
    for _ in range(_CHECKSUM_LENGTH):
        number, digit = divmod(number, len(LETTERS))
        digits = LETTERS[digit] + digits
    return digits


def _all_or(names: tuple[str, ...] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)
