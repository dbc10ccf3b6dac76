"""People whose tokens another issuer signs: a hosted Supabase, or any issuer of that shape."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from interlock.backends.identity.believed import Believed, digest_of
from interlock.backends.identity.claims import Claims, principal_of, read_claims
from interlock.backends.identity.reading import UNREADABLE, check_times, header_of, verified
from interlock.backends.identity.refusal import refused
from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.principal import Principal
from interlock.kit.clock import Clock

BELIEVED_SECONDS = 60.0
"""A token is believed for so long; then its signature is checked and the issuer asked again."""
CONFIRMED_SECONDS = 240.0
"""What the issuer said of a token counts for so long if it cannot be asked again; with the above it is five minutes."""


class KeySource(Protocol):
    """Where the keys of one issuer are; it fixes the algorithm."""

    async def find(self, header: dict[str, Any]) -> tuple[Any, str]: ...


class Confirmation(Protocol):
    """Says whether the person behind verified claims has confirmed an e-mail address."""

    async def require(self, bearer: str, claims: Claims) -> None:
        """Raises UNAUTHENTICATED if not, UNAVAILABLE if that cannot be found out."""
        ...


class IssuerIdentity:
    """Satisfies ``ports.identity.Identity`` for tokens of one issuer.

    Signature, issuer, audience, times and role are checked first, then the confirmation; only a token that passed all
    is remembered, by the SHA-256 of the whole of it. Requests with one token that come at once share the check.
    """

    def __init__(
        self,
        name: str,
        audience: str,
        keys: KeySource,
        confirmation: Confirmation,
        clock: Clock,
        *,
        allows_guests: bool = False,
    ) -> None:
        self._name = name
        self._audience = audience
        self._keys = keys
        self._confirmation = confirmation
        self._clock = clock
        self._allows_guests = allows_guests
        self._believed = Believed(clock, BELIEVED_SECONDS)
        self._confirmed = Believed(clock, CONFIRMED_SECONDS)
        self._checking: dict[bytes, asyncio.Task[Principal]] = {}

    async def authenticate(self, bearer: str) -> Principal:
        """The principal of a token. Raises UNAUTHENTICATED with a reason, UNAVAILABLE if the issuer is not there."""
        digest = digest_of(bearer)
        known = self._believed.get(digest)
        if known is not None:
            return known
        checking = self._checking.get(digest)
        if checking is None:
            checking = self._checking[digest] = asyncio.create_task(self._check(digest, bearer))
            checking.add_done_callback(lambda done: self._forget(digest, done))
        return await asyncio.shield(checking)

    def _forget(self, digest: bytes, done: asyncio.Task[Principal]) -> None:
        del self._checking[digest]
        _ = done.cancelled() or done.exception()  # whoever asked has it, unless all of them have left

    async def _check(self, digest: bytes, bearer: str) -> Principal:
        try:
            key, algorithm = await self._keys.find(header_of(bearer))
            content = verified(bearer, key, algorithm, self._name, self._audience)
            ends_at = check_times(content, self._clock.now().timestamp())
            claims = read_claims(content, allows_guests=self._allows_guests)
        except UNREADABLE as error:
            raise refused("invalid_token", "The token is not valid here; log in again") from error
        principal = principal_of(claims)
        if not claims.is_anonymous and await self._is_confirmed_now(digest, bearer, claims):
            self._confirmed.put(digest, principal, ends_at)
        self._believed.put(digest, principal, ends_at)
        return principal

    async def _is_confirmed_now(self, digest: bytes, bearer: str, claims: Claims) -> bool:
        """Whether the issuer has just said so; False if it is away and said so a while ago. Raises its refusal."""
        try:
            await self._confirmation.require(bearer, claims)
        except InterlockError as error:
            if error.kind is not ErrorKind.UNAVAILABLE:
                self._confirmed.forget(digest)
            elif self._confirmed.get(digest) is not None:
                return False
            raise
        return True
