"""People of the built-in directory: a token that was signed here, and a login that is still good."""

from __future__ import annotations

from interlock.backends.identity.believed import Believed, digest_of
from interlock.backends.identity.refusal import refused
from interlock.core.principal import SCOPES_OF, Principal
from interlock.kit.clock import Clock
from interlock.ports.access_tokens import AccessTokens
from interlock.ports.accounts import Accounts

BELIEVED_SECONDS = 4.0
"""How long a login that was ended elsewhere, or a role that was changed, can still be believed.

Each token in use costs a look at its login so often; after it and one query an account that was disabled is refused.
"""


class DirectoryIdentity:
    """Satisfies ``ports.identity.Identity``: the signature says who, the directory says what they are now."""

    def __init__(self, tokens: AccessTokens, accounts: Accounts, clock: Clock) -> None:
        self._tokens = tokens
        self._accounts = accounts
        self._believed = Believed(clock, BELIEVED_SECONDS)

    async def authenticate(self, bearer: str) -> Principal:
        """The principal of a token. Raises UNAUTHENTICATED with a reason, UNAVAILABLE if the database is away."""
        digest = digest_of(bearer)
        known = self._believed.get(digest)
        if known is not None:
            return known
        held = self._tokens.read(bearer)
        standing = await self._accounts.standing(held.user_id, held.login_id)
        if standing is None or not standing.is_good:
            raise refused("auth_failed", "This login has ended; log in again")
        principal = Principal(
            subject=str(held.user_id),
            tenant_id=standing.tenant_id,
            scopes=SCOPES_OF[standing.role],
            email=standing.email,
            role=standing.role,
        )
        self._believed.put(digest, principal, held.expires_at)
        return principal
