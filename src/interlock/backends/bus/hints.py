"""Hints on the wire: one text of at most 7,900 bytes, below what Postgres takes in a NOTIFY.

``1;`` and then, separated by ``;``, an execution id as 22 letters for a log that grew, or the same with ``:`` and the
owner's number (nothing for no owner) for an inbox that grew.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from uuid import UUID

MAX_BYTES = 7_900
_FORMAT = "1"

Hint = tuple[UUID, int | None] | UUID
"""A log that grew, by its execution; or an inbox that grew, by its execution and owner."""


def pack(logs: Iterable[UUID], inboxes: Iterable[tuple[UUID, int | None]]) -> Iterator[str]:
    """All hints in as few texts as possible. The owner's number is not negative."""
    parts, size = [_FORMAT], len(_FORMAT)
    for part in _parts(logs, inboxes):
        if size + 1 + len(part) > MAX_BYTES:
            yield ";".join(parts)
            parts, size = [_FORMAT], len(_FORMAT)
        parts.append(part)
        size += 1 + len(part)
    if len(parts) > 1:
        yield ";".join(parts)


def unpack(text: str) -> list[Hint]:
    """The hints of a text. Raises ValueError for anything that ``pack`` did not write, or a newer one did."""
    form, *parts = text.split(";")
    if form != _FORMAT:
        raise ValueError(f"hints of the unknown format {form[:20]!r}")
    return [_hint(part) for part in parts]


def _parts(logs: Iterable[UUID], inboxes: Iterable[tuple[UUID, int | None]]) -> Iterator[str]:
    for execution_id in logs:
        yield _short(execution_id)
    for execution_id, owner in inboxes:
        yield f"{_short(execution_id)}:{'' if owner is None else owner}"


def _short(execution_id: UUID) -> str:
    return urlsafe_b64encode(execution_id.bytes)[:22].decode()


def _hint(part: str) -> Hint:
    letters, colon, owner = part.partition(":")
    if len(letters) != 22:
        raise ValueError(f"no execution id: {letters[:30]!r}")
    execution_id = UUID(bytes=urlsafe_b64decode(letters + "=="))
    if not colon:
        return execution_id
    return execution_id, int(owner) if owner else None
