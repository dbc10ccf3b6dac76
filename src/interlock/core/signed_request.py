"""Requests that carry a signature in place of the API key itself."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from datetime import timedelta

import msgspec

MAX_SKEW = timedelta(minutes=5)
"""How far the caller's clock may be from ours, either way."""
NONCE_KEPT = timedelta(minutes=10)
"""A nonce is remembered for so long: no request that repeats it later is in time."""

_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}")
_SCHEME = "v1="


class SignedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is signed, byte for byte as it came. ``timestamp`` is the header's text: epoch seconds."""

    public_id: str
    timestamp: str
    nonce: str
    signature: str
    method: str
    raw_path: bytes
    raw_query: bytes
    body: bytes = b""

    def is_well_formed(self) -> bool:
        """Whether the headers can be those of a signed request at all."""
        is_time = self.timestamp.isascii() and self.timestamp.isdigit() and len(self.timestamp) <= 12
        return is_time and _NONCE.fullmatch(self.nonce) is not None and self.signature.startswith(_SCHEME)

    def is_in_time(self, now: float) -> bool:
        """Whether the request was made within five minutes of ``now`` (epoch seconds)."""
        return abs(now - int(self.timestamp)) <= MAX_SKEW.total_seconds()

    def is_signed_with(self, secret: bytes) -> bool:
        """Whether the signature is that of ``secret``, in the same time for every wrong one."""
        return hmac.compare_digest(self.signature.encode(errors="replace"), (_SCHEME + self.sign(secret)).encode())

    def sign(self, secret: bytes) -> str:
        """The signature in hex: HMAC-SHA256 over the six lines."""
        lines = (
            self.method.encode(),
            self.raw_path,
            self.raw_query,
            self.timestamp.encode(),
            self.nonce.encode(),
            hashlib.sha256(self.body).hexdigest().encode(),
        )
        return hmac.new(secret, b"\n".join(lines), hashlib.sha256).hexdigest()


def signing_secret(public_id: str, pepper: bytes) -> bytes:
    """The secret a key signs with: derived from the server's own secret, so that no copy needs to be kept."""
    return hmac.digest(pepper, b"interlock/signing/" + public_id.encode(), hashlib.sha256)


def as_text(secret: bytes) -> str:
    """A signing secret as its owner gets it: base64url without padding."""
    return base64.urlsafe_b64encode(secret).rstrip(b"=").decode()


def from_text(text: str) -> bytes:
    """The bytes of a signing secret. Raises ValueError for text that is no base64url."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
