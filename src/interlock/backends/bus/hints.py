"""Hints on the wire: one text of at most 7,900 bytes, below what Postgres takes in a NOTIFY.

``2`` and then, each behind a ``;``: the topic of a tenant as ``=`` and 22 letters, which holds for what follows; an
execution id as 22 letters for a log that grew; the same with ``:`` and the owner's number (nothing for no owner) for
an inbox that grew. A text without any of them asks everybody to look for themselves.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from uuid import UUID

MAX_BYTES = 7_900
LOOK = "2"
"""The text that says: hints may have been missed."""
_FORMAT = "2"


class LogGrew(NamedTuple):
    """The log of an execution grew; ``topic`` stands for its tenant."""

    execution_id: UUID
    topic: UUID


class InboxGrew(NamedTuple):
    """A signal waits for the owner; without one, something can be claimed."""

    execution_id: UUID
    owner: int | None


Hint = LogGrew | InboxGrew


def pack(logs: Iterable[LogGrew], inboxes: Iterable[InboxGrew]) -> Iterator[str]:
    """All hints in as few texts as possible. The owner's number is not negative."""
    parts, size, topic = [_FORMAT], len(_FORMAT), ""
    for part, wanted in _parts(logs, inboxes):
        head = [wanted] if wanted and wanted != topic else []
        needed = sum(1 + len(one) for one in (*head, part))
        if size + needed > MAX_BYTES:
            yield ";".join(parts)
            parts, size, head = [_FORMAT], len(_FORMAT), [wanted] if wanted else []
            needed = sum(1 + len(one) for one in (*head, part))
        parts += [*head, part]
        size += needed
        topic = wanted or topic
    if len(parts) > 1:
        yield ";".join(parts)


def unpack(text: str) -> list[Hint]:
    """The hints of a text. Raises ValueError for anything that ``pack`` did not write, or a newer one did."""
    form, *parts = text.split(";")
    if form != _FORMAT:
        raise ValueError(f"hints of the unknown format {form[:20]!r}")
    found: list[Hint] = []
    topic: UUID | None = None
    for part in parts:
        if part.startswith("="):
            topic = _id(part[1:])
        else:
            found.append(_hint(part, topic))
    return found


def _parts(logs: Iterable[LogGrew], inboxes: Iterable[InboxGrew]) -> Iterator[tuple[str, str]]:
    """Each hint and the topic it needs; those of one topic stand together."""
    by_topic: dict[UUID, list[UUID]] = {}
    for execution_id, topic in logs:
        by_topic.setdefault(topic, []).append(execution_id)
    for topic, executions in by_topic.items():
        named = f"={_short(topic)}"
        for execution_id in executions:
            yield _short(execution_id), named
    for execution_id, owner in inboxes:
        yield f"{_short(execution_id)}:{'' if owner is None else owner}", ""


def _short(execution_id: UUID) -> str:
    return urlsafe_b64encode(execution_id.bytes)[:22].decode()


def _hint(part: str, topic: UUID | None) -> Hint:
    letters, colon, owner = part.partition(":")
    execution_id = _id(letters)
    if colon:
        return InboxGrew(execution_id, int(owner) if owner else None)
    if topic is None:
        raise ValueError("a log that grew without its tenant")
    return LogGrew(execution_id, topic)


def _id(letters: str) -> UUID:
    if len(letters) != 22:
        raise ValueError(f"no id: {letters[:30]!r}")
    return UUID(bytes=urlsafe_b64decode(letters + "=="))
