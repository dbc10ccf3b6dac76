"""Conditional answers: the tag is a digest of the body, so it changes exactly when the content does."""

from __future__ import annotations

import hashlib
from typing import Any

from interlock.doors.http.plumbing.operation import Reply
from interlock.doors.http.plumbing.replies import PRIVATE, EmptyReply, Headers, JsonReply


def tagged(value: Any, if_none_match: str | None, headers: Headers = PRIVATE) -> Reply:
    """``value`` with its ETag, or 304 if the caller already holds it."""
    reply = JsonReply(value)
    tag = tag_of(reply.body)
    reply.headers = (*headers, (b"etag", tag.encode()))
    if if_none_match is not None and matches(if_none_match, tag):
        return EmptyReply(304, reply.headers)
    return reply


def tag_of(body: bytes) -> str:
    """A strong entity tag, with its quotes."""
    return f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


def matches(if_none_match: str, tag: str) -> bool:
    """Whether the header names this tag; weak tags count, ``*`` means any."""
    wanted = [part.strip().removeprefix("W/") for part in if_none_match.split(",")]
    return tag in wanted or wanted == ["*"]
