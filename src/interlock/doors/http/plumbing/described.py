"""Forms of texts that handlers check in words of their own; the document says them here, for clients to know."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta


def described(**schema: Any) -> Meta:
    """Words of JSON schema for the document alone; nothing is refused because of them."""
    return Meta(extra_json_schema=schema)


_NAME = "^[A-Za-z0-9_.-]{1,64}$"

Cursor = Annotated[
    str, described(pattern="^([0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12})?$")
]
Instant = Annotated[str, described(format="date-time")]
Email = Annotated[str, Meta(max_length=4096), described(pattern="^[!-?A-~]{1,120}@[!-?A-~]{1,120}$")]
Password = Annotated[str, described(minLength=8, maxLength=1024)]
SigningSecret = Annotated[str, Meta(max_length=128), described(pattern="^whsec_([A-Za-z0-9+/]{4}){8,21}$")]
RegistryName = Annotated[str, described(pattern=_NAME)]
EventName = Annotated[str, described(pattern=_NAME)]
Since = Annotated[str, described(pattern="^[0-9]{1,9}$")]
StreamPath = Annotated[str, Meta(min_length=1, max_length=512), described(pattern="^/[^?#\\u0000]*$")]
