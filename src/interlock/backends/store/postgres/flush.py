"""The flush as a statement: put together from the blocks of ``sql/flush.sql`` that it needs, and prepared once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

import asyncpg

from interlock.backends.store.postgres.queries import load
from interlock.core.events import FORMAT
from interlock.ports.ledger import NO_ROWS, Flush

T = TypeVar("T")

_SQL = load("flush")
_BEFORE_EVENTS = ("starts",)
_ROWS_AFTER_EVENTS = ("changes", "parks", "outcomes", "approvals", "closings", "artifacts", "notices")
_AFTER_EVENTS = (*_ROWS_AFTER_EVENTS, "outbox")
_PLACE = re.compile(r"(?<!:):([a-z_]+)")
_CONSTANTS = {"format": FORMAT}
_BETWEEN, _NULL = "\x1f", "\x1e"  # JSON has them escaped, and no name or id holds them


class Statement(NamedTuple):
    """SQL with numbered places, and whose value goes where."""

    text: str
    places: tuple[str, ...]


def parts_of(flush: Flush) -> frozenset[str]:
    """The row sets of a flush that are not empty."""
    return frozenset(name for name in _BEFORE_EVENTS + _ROWS_AFTER_EVENTS if getattr(flush, name) != NO_ROWS)


def compose(parts: frozenset[str]) -> Statement:
    """The statement that writes events and these row sets; with ``unheard`` only if there is no webhook."""
    before = [name for name in _BEFORE_EVENTS if name in parts]
    after = [name for name in _AFTER_EVENTS if name in parts]
    sources = "sources_with_starts" if "starts" in parts else "sources"
    me = "me_unheard" if "unheard" in parts else "me"
    blocks = [me, "owned", *before, sources, "events", *after]
    answers = ["result", *(f"{name}_result" for name in before + after if f"{name}_result" in _SQL)]
    text = f"with {_joined(blocks)}\nselect {_joined(answers)}"
    places = tuple(dict.fromkeys(_PLACE.findall(text)))
    return Statement(_PLACE.sub(lambda found: f"${places.index(found[1]) + 1}", text), places)


def _joined(names: list[str]) -> str:
    return ",\n".join(_SQL[name] for name in names)


class FlushStatements:
    """The statements of one connection. Few of the possible ones occur; each is prepared when it first does."""

    def __init__(self, connection: asyncpg.Connection[Any]) -> None:
        self._connection = connection
        self._prepared: dict[frozenset[str], tuple[Any, tuple[str, ...]]] = {}

    async def run(self, runner_id: int, flush: Flush, timeout: float, *, publishes: bool = False) -> Any:
        """Send the flush; the row it answers with. Raises what asyncpg raises, TimeoutError after ``timeout`` s.

        With ``publishes`` it also puts events that webhooks want to hear of into the outbox. Without, it writes
        nothing if there is a webhook.
        """
        parts = parts_of(flush)
        if flush.seqs:
            parts |= {"outbox" if publishes else "unheard"}
        found = self._prepared.get(parts)
        if found is None:
            text, places = compose(parts)
            found = self._prepared[parts] = (await self._connection.prepare(text, timeout=timeout), places)
        prepared, places = found
        values = _CONSTANTS | {"runner_id": runner_id} | _columns(flush)
        arguments = [values[name] if name in values else getattr(flush, name) for name in places]
        return await prepared.fetchrow(*arguments, timeout=timeout)


def _columns(flush: Flush) -> dict[str, str]:
    """The columns of the events, one text each: as arrays they would take this process five times as long to send."""
    return {
        "execution_ids": _BETWEEN.join(_told(flush.execution_ids, attrgetter("hex"))),
        "seqs": _BETWEEN.join(map(str, flush.seqs)),
        "types": _BETWEEN.join(flush.types),
        "data": _BETWEEN.join(flush.data),
        "refs": _BETWEEN.join([_NULL if refs is None else refs for refs in flush.refs]),
        "at": _BETWEEN.join(_told(flush.at, datetime.isoformat)),
        "trace_ids": _BETWEEN.join([*flush.trace_ids, ""]),  # an empty text would be no value instead of an empty one
    }


def _told(values: Sequence[T], say: Callable[[T], str]) -> Iterator[str]:
    """Each value as text. Those of one entry are the same object, and said once."""
    last: T | None = None
    text = ""
    for value in values:
        if value is not last:
            last, text = value, say(value)
        yield text
