"""Standard Webhooks 1.0.0, both directions: secrets, signatures, and when a message is sent again.

A message is signed over ``id.timestamp.body``, byte for byte. The id is the same for every attempt at a message and
is what its receiver tells a repeat by; the timestamp is that of the attempt. While a secret is rotated a message
carries one signature for each secret that is still good.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from interlock.core.errors import ErrorKind, InterlockError

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
TOLERANCE = timedelta(minutes=5)
"""How far the clock of the other side may be from ours, either way."""
ROTATION = timedelta(hours=24)
"""For how long the secret before stays good beside a new one."""
SECRET_BYTES = 32
MAX_MESSAGE_ID = 255

_PREFIX = "whsec_"
_VERSION = "v1,"
_LEAST, _MOST = 24, 64  # bytes of a secret
_MAX_SIGNATURES = 16
_SECONDS = (5, 30, 120, 600, 1800, 3600, 7200, 14_400, 28_800, 36_000)
_JITTER = 0.2
_LONGEST_ASKED = timedelta(hours=24)

MAX_ATTEMPTS = len(_SECONDS) + 1
"""Attempts at one message before it is given up, about 28 hours after the first."""


def make_secret(random: bytes) -> str:
    """A secret as its owner gets it, of 24 to 64 random bytes."""
    if not _LEAST <= len(random) <= _MOST:
        raise ValueError(f"a secret has {_LEAST} to {_MOST} bytes, not {len(random)}")
    return _PREFIX + base64.b64encode(random).decode()


def key_of(secret: str) -> bytes:
    """The bytes of a secret. Raises RULE for a text that is none."""
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(_PREFIX) or not _LEAST <= len(key) <= _MOST:
        message = f"A secret is {_PREFIX} and the base64 of {_LEAST} to {_MOST} random bytes"
        raise InterlockError(ErrorKind.RULE, "VALIDATION_ERROR", message, details={"field": "secret"})
    return key


def sign(secrets: Sequence[str], message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """The three headers of a message that is sent at ``at``, with a signature for each of ``secrets``."""
    timestamp = str(int(at.timestamp()))
    signatures = [_VERSION + _signature(key_of(secret), message_id, timestamp, body) for secret in secrets]
    return {ID: message_id, TIMESTAMP: timestamp, SIGNATURE: " ".join(signatures)}


def verify(secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now: datetime) -> str:
    """The id of a message that was signed with one of ``secrets`` at most five minutes from ``now``.

    ``headers`` have lower-case names. Raises UNAUTHENTICATED; every wrong signature takes the same time.
    """
    message_id, timestamp = headers.get(ID, ""), headers.get(TIMESTAMP, "")
    is_time = timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12
    if not is_time or not 0 < len(message_id) <= MAX_MESSAGE_ID:
        raise refused(
            f"The headers webhook-id (at most {MAX_MESSAGE_ID} characters) and webhook-timestamp are needed beside"
            " webhook-signature"
        )
    given = [part.removeprefix(_VERSION) for part in headers.get(SIGNATURE, "").split(" ") if part.startswith(_VERSION)]
    is_good = False
    for secret in secrets:
        right = _signature(key_of(secret), message_id, timestamp, body).encode()
        for signature in given[:_MAX_SIGNATURES]:
            is_good |= hmac.compare_digest(signature.encode(errors="replace"), right)
    if not is_good:
        raise refused("The signature is not one of a secret that is good here")
    if abs(now.timestamp() - int(timestamp)) > TOLERANCE.total_seconds():
        raise refused("The message is signed for another time; at most five minutes may lie between")
    return message_id


def retry_after(failures: int, chance: float, asked: float | None = None) -> timedelta | None:
    """How long to wait after that many failed attempts in a row (1, 2, …); None: give the message up.

    From 5 seconds the waits grow to 10 hours, each up to a fifth shorter or longer by ``chance`` (0 to 1), so that
    messages that failed together do not come back together. ``asked`` is what the receiver's ``Retry-After`` says,
    in seconds: it is kept to if it is longer, up to a day.
    """
    if failures > len(_SECONDS):
        return None
    seconds = _SECONDS[failures - 1] * (1 - _JITTER + 2 * _JITTER * chance)
    return min(timedelta(seconds=max(seconds, asked or 0.0)), max(_LONGEST_ASKED, timedelta(seconds=seconds)))


def traceparent(trace_id: str, span_id: str) -> str | None:
    """The W3C header of a message; None for a trace id of a caller's own form. ``span_id`` is 16 hex digits."""
    is_standard = len(trace_id) == 32 and set(trace_id) <= set("0123456789abcdef") and set(trace_id) != {"0"}
    return f"00-{trace_id}-{span_id}-01" if is_standard else None


def refused(message: str) -> InterlockError:
    """A message that does not prove where it comes from."""
    return InterlockError(
        ErrorKind.UNAUTHENTICATED, "AUTHENTICATION_FAILED", message, details={"reason": "invalid_signature"}
    )


def _signature(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    signed = f"{message_id}.{timestamp}.".encode(errors="replace") + body
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
