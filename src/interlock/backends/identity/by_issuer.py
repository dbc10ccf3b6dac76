"""One identity of several issuers: who is named in a token verifies it, and nobody else."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from interlock.backends.identity.believed import digest_of
from interlock.backends.identity.reading import UNREADABLE, issuer_of
from interlock.backends.identity.refusal import refused
from interlock.core.principal import Principal
from interlock.ports.identity import Identity

_MOST = 10_000


class IdentityByIssuer:
    """Satisfies ``ports.identity.Identity``: the issuer's name is looked up, the rest is up to its own identity."""

    def __init__(self, issuers: Mapping[str, Identity]) -> None:
        self._issuers = issuers
        self._read: OrderedDict[bytes, Identity] = OrderedDict()  # by digest, of good tokens

    async def authenticate(self, bearer: str) -> Principal:
        """The principal of a token. Raises UNAUTHENTICATED, also for a token of an issuer that is not known here."""
        digest = digest_of(bearer)  # refuses none and too long before anything is read
        identity = self._read.get(digest) or self._named_in(bearer)
        principal = await identity.authenticate(bearer)
        self._read[digest] = identity
        if len(self._read) > _MOST:
            self._read.popitem(last=False)
        return principal

    def _named_in(self, bearer: str) -> Identity:
        try:
            identity = self._issuers.get(issuer_of(bearer))
        except UNREADABLE as error:
            raise refused("invalid_token", "The token is not valid here; log in again") from error
        if identity is None:
            raise refused("invalid_token", "The token is of an issuer that this server does not know; log in again")
        return identity
