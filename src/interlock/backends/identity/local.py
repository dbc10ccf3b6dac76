"""Identity without an identity provider: tokens that this server has signed itself."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import msgspec

from interlock.backends.identity.believed import Believed, digest_of
from interlock.backends.identity.refusal import refused
from interlock.backends.identity.signing_keys import SigningKey, SigningKeys
from interlock.core.principal import LOCAL_TENANT, Principal, Scope
from interlock.kit.clock import Clock

ALGORITHM = "HS256"
ISSUER = "interlock-local"
AUDIENCE = "interlock"
KEY_FILE = "signing-keys.json"
"""Where a data directory keeps the keys."""
LOCAL_SUBJECT = "local"
LOCAL_SCOPES = frozenset(Scope) - {Scope.ADMIN}
"""What the local user may do: everything but administer."""

_RENEW = "`interlock token --data DIR` makes a new one with the key in this server's data directory"
BELIEVED_SECONDS = 4.0
"""So long a token is believed unseen: within 5 s after a rotation none of before is."""
_REQUIRED = ["iss", "aud", "exp", "sub", "tenant_id", "scope"]
# Times are checked here, by the clock that is passed in.
_OPTIONS: Any = {"require": _REQUIRED, "verify_exp": False, "verify_nbf": False, "verify_iat": False}


class _Claims(msgspec.Struct):
    sub: str
    tenant_id: str
    scope: str
    exp: int
    nbf: int = 0
    email: str | None = None
    role: str = "member"


class LocalIdentity:
    """Satisfies ``ports.identity.Identity`` with HS256 tokens; the keys are in ``data_dir/signing-keys.json``."""

    def __init__(self, data_dir: Path, clock: Clock) -> None:
        self._clock = clock
        self._keys = SigningKeys(data_dir / KEY_FILE, clock)
        self._believed = Believed(clock, BELIEVED_SECONDS)

    def open(self) -> None:
        """Read the signing keys, or make the first one. Raises UNAVAILABLE."""
        self._keys.open()

    def rotate(self) -> str:
        """Sign with a new key from now on; all tokens of before end. The new key's name."""
        return self._keys.rotate(keeps_older=False).kid

    def mint(
        self,
        subject: str = LOCAL_SUBJECT,
        tenant: str = LOCAL_TENANT,
        scopes: Collection[str] = LOCAL_SCOPES,
        ttl: timedelta = timedelta(hours=24),
    ) -> str:
        """A token that ``authenticate`` takes for ``ttl``, unless its key is replaced before."""
        key = self._keys.newest()
        now = self._clock.now()
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": subject,
            "tenant_id": tenant,
            "scope": " ".join(sorted(scopes)),
            "iat": int(now.timestamp()),
            "exp": int((now + ttl).timestamp()),
        }
        return jwt.encode(claims, key.secret, algorithm=ALGORITHM, headers={"kid": key.kid})

    async def authenticate(self, bearer: str) -> Principal:
        """The principal of a token. Raises UNAUTHENTICATED with reason ``missing_token|invalid_token|expired``.

        A token that was verified is believed for 4 s at most, and never beyond its end.
        """
        digest = digest_of(bearer)
        known = self._believed.get(digest)
        if known is not None:
            return known
        principal, expires_at = self._verify(bearer, self._clock.now().timestamp())
        self._believed.put(digest, principal, expires_at)
        return principal

    def _verify(self, bearer: str, now: float) -> tuple[Principal, float]:
        try:
            key = self._key_of(jwt.get_unverified_header(bearer))
            content = jwt.decode(
                bearer, key.secret, algorithms=[ALGORITHM], issuer=ISSUER, audience=AUDIENCE, options=_OPTIONS
            )
            claims = msgspec.convert(content, _Claims)
        except (jwt.PyJWTError, msgspec.ValidationError, ValueError, RecursionError) as error:
            raise refused("invalid_token", f"The token is not valid here; {_RENEW}") from error
        if claims.exp <= now:
            raise refused("expired", f"The token has expired; {_RENEW}")
        if claims.nbf > now:
            raise refused("invalid_token", "The token is not valid yet")
        principal = Principal(
            subject=claims.sub,
            tenant_id=claims.tenant_id,
            scopes=frozenset(claims.scope.split()),
            email=claims.email,
            role=claims.role,
        )
        return principal, claims.exp

    def _key_of(self, header: dict[str, Any]) -> SigningKey:
        kid = header.get("kid")
        if "crit" in header:
            raise jwt.InvalidTokenError("critical extensions are not known here")
        key = self._keys.find(kid) if isinstance(kid, str) else None
        if key is None:
            raise jwt.InvalidKeyError("the key is not known here")
        return key
