"""Tokens that were checked a moment ago. What is not fully verified never gets in here."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from interlock.backends.identity.refusal import refused
from interlock.core.principal import Principal
from interlock.kit.clock import Clock

MAX_CHARACTERS = 8_192
"""Longer tokens are refused unread."""
_MOST = 10_000


def digest_of(bearer: str) -> bytes:
    """The SHA-256 of a whole token: what it is remembered by. Raises UNAUTHENTICATED for none, or one too long."""
    if not bearer:
        raise refused("missing_token", "This call needs a token: Authorization: Bearer …")
    if len(bearer) > MAX_CHARACTERS:
        raise refused("invalid_token", "The token is too long")
    return hashlib.sha256(bearer.encode(errors="surrogatepass")).digest()


class Believed:
    """Principals by the digest of their token, for ``seconds`` at most and never beyond the token's own end."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._known: OrderedDict[bytes, tuple[Principal, float]] = OrderedDict()

    def get(self, digest: bytes) -> Principal | None:
        """The principal, if the token was verified lately."""
        found = self._known.get(digest)
        if found is None:
            return None
        if self._clock.now().timestamp() < found[1]:
            return found[0]
        del self._known[digest]
        return None

    def forget(self, digest: bytes) -> None:
        """A token that was believed is good no longer."""
        self._known.pop(digest, None)

    def put(self, digest: bytes, principal: Principal, expires_at: float) -> None:
        """Remember a token that was verified just now. ``expires_at`` is its end in epoch seconds."""
        until = min(expires_at, self._clock.now().timestamp() + self._seconds)
        self._known[digest] = (principal, until)
        if len(self._known) > _MOST:
            self._known.popitem(last=False)
