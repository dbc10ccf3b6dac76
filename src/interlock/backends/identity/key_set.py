"""The public keys of an issuer: fetched from its JWKS, seldom, and each good for one algorithm only."""

from __future__ import annotations

import asyncio
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from interlock.backends.identity.reading import UNREADABLE
from interlock.core.errors import InterlockError, unavailable
from interlock.kit.clock import Clock
from interlock.ports.egress import Egress

FRESH_SECONDS = 600.0
"""Keys are believed for so long after they were fetched."""
FLOOR_SECONDS = 60.0
"""Between two fetches there is at least this time, whatever tokens come in and whether or not the first succeeded."""
_FETCH_SECONDS = 5.0
_MAX_BYTES = 262_144
_MAX_KEYS = 100
_MIN_RSA_BITS = 2048
_ALGORITHMS = {"EC": "ES256", "RSA": "RS256"}

PublicKey = EllipticCurvePublicKey | RSAPublicKey


class _KeyRecord(msgspec.Struct):
    keys: list[dict[str, Any]]


class KeySet:
    """Keys by ``kid`` at ``url``. ``algorithm`` narrows them to one of ES256 and RS256."""

    def __init__(self, url: str, egress: Egress, clock: Clock, *, algorithm: str | None = None) -> None:
        self._url = url
        self._egress = egress
        self._clock = clock
        self._wanted = (algorithm,) if algorithm else tuple(_ALGORITHMS.values())
        self._keys: dict[str, tuple[PublicKey, str]] = {}
        self._fetched_at: float | None = None
        self._asked_at: float | None = None
        self._turn = asyncio.Lock()

    async def find(self, header: dict[str, Any]) -> tuple[Any, str]:
        """The key of a token's header, and its algorithm; a ``kid`` that is not known may be one fetch away.

        Raises jwt.InvalidKeyError if the issuer has no such key, UNAVAILABLE if it cannot be asked now.
        """
        kid = header.get("kid")
        if not isinstance(kid, str):
            raise jwt.InvalidKeyError("no key is named")
        found = self._known(kid)
        if found is None:
            async with self._turn:
                found = self._known(kid)
                if found is None and self._may_ask():
                    await self._fetch()
                    found = self._known(kid)
        if found is not None:
            return found
        if self._is_fresh() and self._fetched_at == self._asked_at:
            raise jwt.InvalidKeyError("the issuer has no such key")
        raise unavailable("The issuer of the token cannot be asked for its keys now; try again", retry_after=5.0)

    def _known(self, kid: str) -> tuple[PublicKey, str] | None:
        return self._keys.get(kid) if self._is_fresh() else None

    def _is_fresh(self) -> bool:
        return self._fetched_at is not None and self._clock.monotonic() - self._fetched_at < FRESH_SECONDS

    def _may_ask(self) -> bool:
        return self._asked_at is None or self._clock.monotonic() - self._asked_at >= FLOOR_SECONDS

    async def _fetch(self) -> None:
        self._asked_at = asked_at = self._clock.monotonic()
        try:
            answer = await self._egress.request(
                "GET",
                self._url,
                headers={"accept": "application/json"},
                body=None,
                timeout=_FETCH_SECONDS,
                max_bytes=_MAX_BYTES,
            )
        except InterlockError as error:
            raise unavailable(
                "The issuer of the token cannot be asked for its keys now; try again", retry_after=FLOOR_SECONDS
            ) from error
        if answer.status != 200 or answer.truncated:
            raise unavailable(f"The issuer of the token answered {answer.status} when asked for its keys")
        try:
            record = msgspec.json.decode(answer.body, type=_KeyRecord)
        except msgspec.MsgspecError as error:
            raise unavailable("The issuer of the token gave no list of keys") from error
        self._keys = dict(filter(None, map(self._read, record.keys[:_MAX_KEYS])))
        self._fetched_at = asked_at

    def _read(self, entry: dict[str, Any]) -> tuple[str, tuple[PublicKey, str]] | None:
        """A key that signs with an algorithm we take, or None: an issuer may list others."""
        kid, algorithm = entry.get("kid"), _ALGORITHMS.get(str(entry.get("kty")))
        if not isinstance(kid, str) or algorithm not in self._wanted or entry.get("use", "sig") != "sig":
            return None
        if entry.get("alg", algorithm) != algorithm:
            return None
        try:
            key = jwt.PyJWK(entry, algorithm=algorithm).key
        except UNREADABLE:
            return None
        return (kid, (key, algorithm)) if _is_fit(key) else None


def _is_fit(key: Any) -> bool:
    """Whether it is a public key of a curve or length that its algorithm needs."""
    if isinstance(key, EllipticCurvePublicKey):
        return isinstance(key.curve, SECP256R1)
    return isinstance(key, RSAPublicKey) and key.key_size >= _MIN_RSA_BITS


class SharedSecret:
    """The one HS256 key of an issuer that signs with a secret: no header can choose another."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    async def find(self, header: dict[str, Any]) -> tuple[Any, str]:
        """The key, whatever the header says, and its algorithm."""
        return self._secret, "HS256"
