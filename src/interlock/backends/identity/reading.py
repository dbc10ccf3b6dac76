"""Reading a JWT whose key is known by now: nothing in the token chooses how it is checked."""

from __future__ import annotations

import base64
import math
from typing import Any

import jwt
import msgspec

from interlock.backends.identity.refusal import refused

NOT_BEFORE_LEEWAY = 10.0
"""Seconds by which an issuer's clock may be ahead of ours. An end is an end."""

# A token nests as deep as its sender likes; the reader of JSON gives up at some depth.
UNREADABLE = (jwt.PyJWTError, msgspec.ValidationError, ValueError, RecursionError)
"""Whatever reading a token that is none may raise."""

_REQUIRED = ["iss", "aud", "exp", "sub"]
# Times are checked by the clock that is passed in.
_OPTIONS: Any = {"require": _REQUIRED, "verify_exp": False, "verify_nbf": False, "verify_iat": False}


class _Named(msgspec.Struct):
    iss: str


class Times(msgspec.Struct):
    """When a token is valid, epoch seconds."""

    exp: float
    nbf: float = 0.0


def header_of(bearer: str) -> dict[str, Any]:
    """The unverified header, good only for finding a key. Raises what ``UNREADABLE`` lists."""
    header = jwt.get_unverified_header(bearer)
    if "crit" in header:
        raise jwt.InvalidTokenError("no critical extension is known here")
    return header


def issuer_of(bearer: str) -> str:
    """The unverified issuer, good only for finding who verifies. Raises what ``UNREADABLE`` lists."""
    _, payload, _ = bearer.split(".")
    return msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), type=_Named).iss


def verified(bearer: str, key: Any, algorithm: str, issuer: str, audience: str) -> dict[str, Any]:
    """The claims of a token that this key signed, for us. Raises what ``UNREADABLE`` lists."""
    claims: dict[str, Any] = jwt.decode(
        bearer, key, algorithms=[algorithm], issuer=issuer, audience=audience, options=_OPTIONS
    )
    return claims


def check_times(claims: dict[str, Any], now: float) -> float:
    """The end of a token that is valid now, epoch seconds. Raises UNAUTHENTICATED, or what ``UNREADABLE`` lists."""
    times = msgspec.convert(claims, Times)
    if not (math.isfinite(times.exp) and math.isfinite(times.nbf)):
        raise jwt.InvalidTokenError("its times are no instants")
    if times.exp <= now:
        raise refused("expired", "The token has expired; log in again")
    if times.nbf > now + NOT_BEFORE_LEEWAY:
        raise refused("invalid_token", "The token is not valid yet")
    return times.exp
