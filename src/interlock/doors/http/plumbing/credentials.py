"""Where a credential may stand: the header, and on streams the query, because browsers cannot set a header there."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import parse_qsl

import msgspec

from interlock.core.errors import ErrorKind, InterlockError
from interlock.kit.clock import Clock

REQUIRED_AUTH = "Bearer token via Authorization header"
MAX_URL_TOKEN_SECONDS = 3600
"""A token in an address may be valid for so long at most: addresses are kept in too many places."""

_URL_NAMES = ("access_token", "token")


class _Claims(msgspec.Struct):
    exp: float


_claims = msgspec.json.Decoder(_Claims)


def unauthenticated(message: str, reason: str) -> InterlockError:
    """401 with a reason that clients may branch on."""
    details = {"reason": reason, "required_auth": REQUIRED_AUTH}
    return InterlockError(ErrorKind.UNAUTHENTICATED, "AUTHENTICATION_FAILED", message, details=details)


def missing_credential() -> InterlockError:
    return unauthenticated("This call needs a token: send Authorization: Bearer <token>", "missing_token")


def bearer_of(headers: dict[bytes, bytes]) -> str | None:
    """The bearer token of ``Authorization``; None without that header. Raises UNAUTHENTICATED for another scheme."""
    value = headers.get(b"authorization")
    if value is None:
        return None
    scheme, _, token = value.partition(b" ")
    token = token.strip()
    if scheme.lower() != b"bearer" or not token or not token.isascii():
        raise unauthenticated("Authorization must be 'Bearer <token>'", "invalid_token")
    return token.decode()


def token_in_url(query_string: bytes) -> str | None:
    """The token of a stream's address, if there is one."""
    if b"token=" not in query_string:
        return None
    values = dict(parse_qsl(query_string.decode("latin-1")))
    return next((values[name] for name in _URL_NAMES if values.get(name)), None)


def require_short_life(token: str, clock: Clock) -> None:
    """Refuse a verified token from an address unless it is a JWT that expires within the hour."""
    try:
        payload = token.split(".")[1]
        claims = _claims.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, binascii.Error, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise unauthenticated("A token in the address must be a JWT that expires", "invalid_token") from error
    if claims.exp - clock.now().timestamp() > MAX_URL_TOKEN_SECONDS:
        message = "A token in the address may be valid for one hour at most; send this one in the Authorization header"
        raise unauthenticated(message, "invalid_token")
