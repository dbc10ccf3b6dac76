"""AWS Signature Version 4: proves to an S3-compatible store who asks, for what, and with which content."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote

_ALGORITHM = "AWS4-HMAC-SHA256"
_SERVICE = "s3"
NOTHING = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Credentials:
    """Whose request it is; the secret and the token never show."""

    key_id: str
    secret: str = field(repr=False)
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request before it is signed: ``path`` is percent-encoded, ``host`` as the Host header has it."""

    method: str
    host: str
    path: str
    query: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    content_sha256: str = NOTHING


def signed(asked: Asked, credentials: Credentials, region: str, now: datetime) -> dict[str, str]:
    """The headers of the request, all of them signed, with its signature; without Host, which the client sends.

    ``now`` is UTC; a store refuses what is off by more than 15 minutes.
    """
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    headers = {**asked.headers, "x-amz-content-sha256": asked.content_sha256, "x-amz-date": stamp}
    if credentials.token:
        headers["x-amz-security-token"] = credentials.token
    told = {name.lower(): " ".join(value.split()) for name, value in {**headers, "host": asked.host}.items()}
    names = ";".join(sorted(told))
    lines = "".join(f"{name}:{told[name]}\n" for name in sorted(told))
    request = "\n".join((asked.method, asked.path, written(asked.query), lines, names, asked.content_sha256))
    scope = f"{stamp[:8]}/{region}/{_SERVICE}/aws4_request"
    text = "\n".join((_ALGORITHM, stamp, scope, hashlib.sha256(request.encode()).hexdigest()))
    signature = _mac(_key(credentials.secret, stamp[:8], region), text).hex()
    said = f"Credential={credentials.key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**headers, "Authorization": f"{_ALGORITHM} {said}"}


def written(query: Sequence[tuple[str, str]]) -> str:
    """A query in the one form that is signed: sorted and encoded."""
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(query))


def _key(secret: str, day: str, region: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, _SERVICE, "aws4_request"):
        key = _mac(key, part)
    return key


def _mac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
