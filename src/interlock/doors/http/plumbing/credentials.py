"""Where a credential may stand: a header, and on some paths the query, because browsers cannot set a header there."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qsl

import msgspec

from interlock.core.errors import ErrorKind, InterlockError
from interlock.doors.http.plumbing.operation import Operation
from interlock.kit.clock import Clock

REQUIRED_AUTH = "Bearer token via Authorization header"
REQUIRED_KEY = "API key via X-API-Key or Authorization header"
MAX_URL_TOKEN_SECONDS = 3600
"""A token in an address may be valid for so long at most: addresses are kept in too many places."""

_URL_NAMES = ("access_token", "token")
_TICKET = "ticket"


class _Claims(msgspec.Struct):
    exp: float


_claims = msgspec.json.Decoder(_Claims)


@dataclass(frozen=True, slots=True)
class InUrl:
    """A credential found in an address, and what it may be."""

    text: str
    is_ticket: bool = False
    may_be_token: bool = False
    may_be_key: bool = False


def unauthenticated(message: str, reason: str, required: str = REQUIRED_AUTH) -> InterlockError:
    """401 with a reason that clients may branch on, and what ``required`` says is taken."""
    details = {"reason": reason, "required_auth": required}
    return InterlockError(ErrorKind.UNAUTHENTICATED, "AUTHENTICATION_FAILED", message, details=details)


def missing_key() -> InterlockError:
    message = "This call needs an API key: send X-API-Key: <key> or Authorization: Bearer <key>"
    return unauthenticated(message, "missing_token", REQUIRED_KEY)


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


def key_of_header(headers: dict[bytes, bytes]) -> str | None:
    """The key of ``X-API-Key``; None without that header. Raises UNAUTHENTICATED for what can be no key."""
    value = headers.get(b"x-api-key")
    if value is None:
        return None
    text = value.strip()
    if not text or not text.isascii() or text.count(b".") == 2:  # tokens belong into the other header
        raise unauthenticated("X-API-Key must hold an API key", "invalid_api_key")
    return text.decode()


def presented_in_url(query_string: bytes, operation: Operation, *, allows_key: bool) -> InUrl | None:
    """The credential in an address, where the operation takes one there; None if there is none.

    A stream takes a ticket or a token, and ``operation.key_in_url`` names where a key may stand if that is allowed.
    """
    if not query_string or not (operation.is_stream or operation.key_in_url):
        return None
    values = dict(parse_qsl(query_string.decode("latin-1")))
    if operation.is_stream and values.get(_TICKET):
        return InUrl(values[_TICKET], is_ticket=True)
    for name in _URL_NAMES if operation.is_stream else ():
        if values.get(name):
            return InUrl(values[name], may_be_token=True, may_be_key=allows_key and name == operation.key_in_url)
    if operation.key_in_url is not None and values.get(operation.key_in_url):
        return InUrl(values[operation.key_in_url], may_be_key=allows_key)
    return None


def require_short_life(token: str, clock: Clock) -> None:
    """Refuse a verified token from an address unless it is a JWT that expires within the hour."""
    end = ends_at(token)
    if end is None:
        raise unauthenticated("A token in the address must be a JWT that expires", "invalid_token")
    if (end - clock.now()).total_seconds() > MAX_URL_TOKEN_SECONDS:
        message = "A token in the address may be valid for one hour at most; send this one in the Authorization header"
        raise unauthenticated(message, "invalid_token")


def ends_at(token: str) -> datetime | None:
    """When a verified token is over; None for what is no JWT that expires."""
    try:
        payload = token.split(".")[1]
        claims = _claims.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return datetime.fromtimestamp(claims.exp, UTC)
    except (IndexError, ValueError, OverflowError, OSError, msgspec.MsgspecError):
        return None
