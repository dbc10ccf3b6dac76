"""Files as answers: browsers save them, and never show them as a page of this server."""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from urllib.parse import quote

from interlock.doors.http.plumbing.etag import matches
from interlock.doors.http.plumbing.operation import Call, Reply
from interlock.doors.http.plumbing.replies import PRIVATE, BytesReply, EmptyReply

_MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(?:; ?[\w.+-]+=[\w.+-]+)*", re.ASCII)
_UNKNOWN_TYPE = "application/octet-stream"


class File(NamedTuple):
    """What is sent, under which name; whoever made it may have said anything of its type."""

    name: str
    content_type: str
    sha256: str
    content: bytes


def attachment(call: Call[Any, Any], file: File) -> Reply:
    """The file with its digest as ETag, or 304 if the caller already holds it."""
    tag = f'"{file.sha256}"'
    headers = (
        *PRIVATE,
        (b"content-disposition", f"attachment; filename*=UTF-8''{quote(file.name, safe='')}".encode()),
        (b"content-security-policy", b"default-src 'none'; sandbox"),
        (b"etag", tag.encode()),
    )
    held = call.header("if-none-match")
    if held is not None and matches(held, tag):
        return EmptyReply(304, headers)
    is_plain = _MEDIA_TYPE.fullmatch(file.content_type) is not None
    return BytesReply(file.content, media_type=file.content_type if is_plain else _UNKNOWN_TYPE, headers=headers)
