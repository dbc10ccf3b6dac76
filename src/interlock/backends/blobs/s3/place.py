"""Which bucket holds the blobs, and under which keys."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

from interlock.kit.hosts import in_url

Style = Literal["path", "host"]
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"([A-Za-z0-9_-][A-Za-z0-9._-]{0,100}(/(?!$)|$)){0,8}")
_REGION = re.compile(r"[a-z0-9-]{1,64}")
_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_FORM = "write it as s3://BUCKET/PREFIX?region=REGION&endpoint=https://HOST"
_KNOWN = ("endpoint", "region", "style")


@dataclass(frozen=True, slots=True)
class Place:
    """A bucket, or a folder in one. ``origin`` and ``host`` are of the server that is asked.

    All keys are of signs that stand for themselves in a path.
    """

    bucket: str
    prefix: str
    region: str
    origin: str
    host: str
    style: Style

    def path(self, key: str = "") -> str:
        """The path of a key as requests have it; of the bucket without one."""
        return f"/{self.bucket}/{key}" if self.style == "path" else f"/{key}"


def read_place(url: str) -> Place:
    """The place that ``s3://bucket/prefix?region=…&endpoint=…&style=…`` names. Raises ValueError that says what to do.

    Without an endpoint it is AWS. ``style`` says whether the bucket stands in the path or before the host; without it
    in the path with an endpoint, else before the host.
    """
    parts = urlsplit(url)
    told = dict(parse_qsl(parts.query, keep_blank_values=True))
    prefix = parts.path.strip("/")
    if parts.scheme != "s3" or parts.fragment or not _BUCKET.fullmatch(parts.netloc):
        raise ValueError(f"is no bucket; {_FORM}")
    if not _PREFIX.fullmatch(prefix):
        raise ValueError("has a prefix that keys cannot begin with; use letters, digits and . _ - between slashes")
    if unknown := sorted(told.keys() - set(_KNOWN)):
        raise ValueError(f"says {unknown[0]!r}, which is not known; it may say {', '.join(_KNOWN)}")
    region, style = told.get("region", ""), told.get("style", "path" if told.get("endpoint") else "host")
    if style not in ("path", "host"):
        raise ValueError("has a style that is neither path nor host")
    if not _REGION.fullmatch(region) and (region or "endpoint" not in told):
        raise ValueError(f"does not name its region; {_FORM}")
    region = region or "us-east-1"
    scheme, host = _server(told.get("endpoint") or f"https://s3.{region}.amazonaws.com")
    host = f"{parts.netloc}.{host}" if style == "host" else host
    return Place(parts.netloc, f"{prefix}/" if prefix else "", region, f"{scheme}://{host}", host, _style(style))


def _style(text: str) -> Style:
    return "host" if text == "host" else "path"


def _server(endpoint: str) -> tuple[str, str]:
    """Scheme and Host header of an endpoint. Raises ValueError."""
    parts = urlsplit(endpoint)
    name = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not name or parts.path.strip("/") or parts.query or "@" in parts.netloc:
        raise ValueError("has an endpoint that is no server; write it as endpoint=https://HOST:PORT")
    usual = {"http": 80, "https": 443}[parts.scheme]
    return parts.scheme, in_url(name) if parts.port in (None, usual) else f"{in_url(name)}:{parts.port}"


def folder_of(tenant_id: str) -> str:
    """What the keys of a tenant begin with: its name, or a digest of it where that could not be a key."""
    if _PLAIN.fullmatch(tenant_id):
        return tenant_id
    return "~" + hashlib.blake2b(tenant_id.encode(), digest_size=16).hexdigest()
