"""Tokens of the built-in directory: signed with ES256 keys of its own, or with an HS256 key that it is given."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from jwt.algorithms import ECAlgorithm

from interlock.backends.identity.claims import PERSON
from interlock.backends.identity.reading import UNREADABLE, check_times, header_of, verified
from interlock.backends.identity.refusal import refused
from interlock.backends.identity.signing_keys import SigningKey, SigningKeys
from interlock.core.account import ACCESS_LIFETIME, Account, Held
from interlock.kit.clock import Clock

ALGORITHM = "ES256"
SHARED = "HS256"
KEY_FILE = "identity-keys.json"
"""Where a data directory keeps the keys."""
RENEW_AFTER = timedelta(days=90)
"""A key signs for so long; then the next one is made."""


class _Content(msgspec.Struct):
    sub: UUID
    session_id: UUID


class IssuedTokens:
    """Satisfies ``ports.access_tokens.AccessTokens``; the keys are in ``data_dir/identity-keys.json``."""

    def __init__(self, data_dir: Path, clock: Clock, issuer: str, audience: str) -> None:
        self._clock = clock
        self._issuer = issuer
        self._audience = audience
        self._keys = SigningKeys(data_dir / KEY_FILE, clock, _new_private_key)
        self._loaded: dict[str, EllipticCurvePrivateKey] = {}

    def open(self) -> None:
        """Read the keys, or make the first one. Raises UNAVAILABLE."""
        self._keys.open()

    def rotate(self) -> str:
        """Sign with a new key from now on; tokens of the one before stay valid. The new key's name."""
        return self._keys.rotate().kid

    def sign(self, account: Account, login_id: UUID, now: datetime) -> tuple[str, int]:
        """A token for an hour, and the epoch second at which it ends. A key that is too old is replaced first."""
        key = self._keys.newest()
        if now >= key.created_at + RENEW_AFTER:
            key = self._keys.rotate(if_older_than=RENEW_AFTER)
        claims = claims_of(account, login_id, now, self._issuer, self._audience)
        return jwt.encode(claims, self._private(key), algorithm=ALGORITHM, headers={"kid": key.kid}), claims["exp"]

    def read(self, bearer: str) -> Held:
        """What a token of ours says. Raises UNAUTHENTICATED."""
        try:
            key = self._key_of(header_of(bearer))
            claims = verified(bearer, self._private(key).public_key(), ALGORITHM, self._issuer, self._audience)
            return held_of(claims, self._clock.now())
        except UNREADABLE as error:
            raise refused("invalid_token", "The token is not valid here; log in again") from error

    def public_keys(self) -> list[dict[str, Any]]:
        """The keys whose signatures count now, as JWKs."""
        return [self._public(key) for key in self._keys.valid()]

    def _key_of(self, header: dict[str, Any]) -> SigningKey:
        kid = header.get("kid")
        key = self._keys.find(kid) if isinstance(kid, str) else None
        if key is None:
            raise jwt.InvalidKeyError("the key is not known here")
        return key

    def _private(self, key: SigningKey) -> EllipticCurvePrivateKey:
        found = self._loaded.get(key.kid)
        if found is None:
            loaded = load_pem_private_key(key.secret.encode(), None)
            if not isinstance(loaded, EllipticCurvePrivateKey):
                raise jwt.InvalidKeyError("the key is of another kind")
            found = self._loaded[key.kid] = loaded
        return found

    def _public(self, key: SigningKey) -> dict[str, Any]:
        numbers = ECAlgorithm.to_jwk(self._private(key).public_key(), as_dict=True)
        return {**numbers, "kid": key.kid, "alg": ALGORITHM, "use": "sig", "key_ops": ["verify"]}


class SecretTokens:
    """Satisfies ``ports.access_tokens.AccessTokens`` with one HS256 key, which all replicas are given.

    Nobody can check such a token without the key, so none is public.
    """

    def __init__(self, secret: str, clock: Clock, issuer: str, audience: str) -> None:
        self._secret = secret
        self._clock = clock
        self._issuer = issuer
        self._audience = audience

    def sign(self, account: Account, login_id: UUID, now: datetime) -> tuple[str, int]:
        """A token for an hour, and the epoch second at which it ends."""
        claims = claims_of(account, login_id, now, self._issuer, self._audience)
        return jwt.encode(claims, self._secret, algorithm=SHARED), claims["exp"]

    def read(self, bearer: str) -> Held:
        """What a token of ours says. Raises UNAUTHENTICATED."""
        try:
            header_of(bearer)  # refuses what asks for an extension
            claims = verified(bearer, self._secret, SHARED, self._issuer, self._audience)
            return held_of(claims, self._clock.now())
        except UNREADABLE as error:
            raise refused("invalid_token", "The token is not valid here; log in again") from error

    def public_keys(self) -> list[dict[str, Any]]:
        """None: the key is no public one."""
        return []


def claims_of(account: Account, login_id: UUID, now: datetime, issuer: str, audience: str) -> dict[str, Any]:
    """What a token of an hour says."""
    issued_at = int(now.timestamp())
    return {
        "iss": issuer,
        "aud": audience,
        "sub": str(account.user_id),
        "role": PERSON,
        "email": account.email,
        "session_id": str(login_id),
        "aal": "aal1",
        "is_anonymous": False,
        "app_metadata": app_metadata(account),
        "user_metadata": account.user_metadata,
        "iat": issued_at,
        "exp": issued_at + int(ACCESS_LIFETIME.total_seconds()),
    }


def held_of(claims: dict[str, Any], now: datetime) -> Held:
    """Whose verified token it is, if it is valid now. Raises UNAUTHENTICATED, or what ``UNREADABLE`` lists."""
    ends_at = check_times(claims, now.timestamp())
    content = msgspec.convert(claims, _Content)
    return Held(content.sub, content.session_id, ends_at)


def app_metadata(account: Account) -> dict[str, Any]:
    """What the directory itself says of a person."""
    return {
        "provider": "email",
        "providers": ["email"],
        "interlock_role": str(account.role),
        "tenant_id": account.tenant_id,
    }


def _new_private_key() -> str:
    key = generate_private_key(SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
