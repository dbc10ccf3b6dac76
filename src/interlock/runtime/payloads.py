"""Large values of events: they are kept as blobs, and the event's row refers to them.

A value that goes from task to task unchanged is one blob: by its digest, and within one process also by its identity,
so that it is not encoded again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from interlock.core.code import ARGUMENTS
from interlock.core.commands import Signal, SignalKind
from interlock.core.events import Event, Recorded, TaskCompleted, TaskStarted, encode_data
from interlock.core.large import leaves, put, put_back, put_into
from interlock.core.parcel import DEEPEST, Parcel, find
from interlock.ports.blobs import Blobs
from interlock.ports.ledger import InboxRow, Loaded

MAX_INLINE = 31 * 1024
"""Bytes of an encoded event above which its largest values become blobs: two such and what else a row holds are
less than 64 KiB."""
_REST = 7 * 1024  # of them for what is not taken out
_SMALLEST = 1024  # bytes of a value that is worth a blob
_MOST = 64  # blobs of one event
_LARGE = ("output", "input", "blackboard", "payload", "data", "request", "value")


class Externalised(NamedTuple):
    """An event without its large values, encoded; ``refs`` has their SHA-256 by path, ``blobs`` what is not stored."""

    event: Event
    data: bytes
    refs: dict[str, str]
    blobs: list[bytes]


class LargeValues:
    """The large values of an execution that are stored, or will be before what is recorded now."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, str]] = {}  # identity -> the value, which is kept so that it stays its own
        self._stored: set[str] = set()

    def remember(self, value: Any, sha256: str) -> None:
        """This very value is the content of this blob."""
        self._known[id(value)] = value, sha256
        self._stored.add(sha256)

    def take_out(self, event: Event) -> Externalised:
        """The event without the values that are known here, and the largest others if it is too large."""
        event, parcels = _without(event, _parcels(event))
        small, refs = _without(event, self._stored_in(event))
        parts = [_part(*leaf) for name in _fields(small) for leaf in _leaves(small, name)]
        taken = self._take(small, refs, parts)
        if len(taken.data) > MAX_INLINE:  # objects of very many small values have no large ones: they go as a whole
            parts = [_part(name, getattr(event, name)) for name in _fields(event)]
            taken = self._take(event, {}, parts)
        for part in parts:
            if part.path in taken.refs:
                self.remember(part.value, taken.refs[part.path])
        return taken._replace(refs=taken.refs | parcels)

    def _stored_in(self, event: Event) -> dict[str, str]:
        found: dict[str, str] = {}
        for name in _fields(event) if self._known else ():
            for path, value in _leaves(event, name):
                known = self._known.get(id(value))
                if known is not None:
                    found[path] = known[1]
        return found

    def _take(self, event: Event, refs: dict[str, str], parts: list[_Part]) -> Externalised:
        """Replace parts by references, the largest first, until the others should fit."""
        refs, blobs = dict(refs), []
        excess = sum(len(part.content) for part in parts) - (MAX_INLINE - _REST)
        large = sorted((part for part in parts if len(part.content) >= _SMALLEST), key=_size, reverse=True)
        for part in large[:_MOST]:
            if excess <= 0:
                break
            sha256 = refs[part.path] = hashlib.sha256(part.content).hexdigest()
            if sha256 not in self._stored and part.content not in blobs:
                blobs.append(part.content)
            event = put_into(event, part.path, _nothing(event, part.path))
            excess -= len(part.content)
        return Externalised(event, encode_data(event), refs, blobs)


def has_parcels(event: Event) -> bool:
    """Whether there are parcels in what a task gave or was given."""
    if type(event) is TaskCompleted:
        return next(find(event.output, Parcel), None) is not None
    if type(event) is TaskStarted and type(event.input) is dict:
        return next(find(event.input.get(ARGUMENTS), Parcel), None) is not None
    return False


def _parcels(event: Event) -> dict[str, str]:
    return {
        path: value.sha256 for name in _fields(event) for path, value in _leaves(event, name) if type(value) is Parcel
    }


def _without(event: Event, refs: dict[str, str]) -> tuple[Event, dict[str, str]]:
    for path in refs:
        event = put_into(event, path, _nothing(event, path))
    return event, refs


class _Part(NamedTuple):
    path: str
    value: Any
    content: bytes


def _part(path: str, value: Any) -> _Part:
    return _Part(path, value, msgspec.json.encode(value))


def _size(part: _Part) -> int:
    return len(part.content)


def _fields(event: Event) -> list[str]:
    return [name for name in _LARGE if getattr(event, name, None) is not None]


def _leaves(event: Event, name: str) -> Iterator[tuple[str, Any]]:
    return leaves(name, getattr(event, name))


def _nothing(event: Event, path: str) -> Any:
    """What stays where a value was taken out: a field of type object must stay one."""
    return {} if path == "blackboard" else None


async def internalise(
    loaded: Loaded, blobs: Blobs, large: LargeValues, *, carries_parcels: bool = False
) -> list[Recorded]:
    """The events of a loaded execution with their large values back in place; ``large`` knows them then.

    With ``carries_parcels`` those that tasks gave, and were given by others, are parcels again.
    """
    values: dict[str, Any] = {}
    events = []
    for record in loaded.events:
        refs = loaded.refs.get(record.seq)
        if refs is None:
            events.append(record)
            continue
        handed_on = {path for path in refs if carries_parcels and _is_handed_on(record.event, path)}
        opened = {path: sha256 for path, sha256 in refs.items() if path not in handed_on}
        for sha256 in opened.values():
            if sha256 not in values:
                values[sha256] = msgspec.json.decode(await blobs.get(loaded.tenant_id, sha256))
                large.remember(values[sha256], sha256)
        event = put_back(record.event, opened, values)
        for path in handed_on:
            event = put_into(event, path, Parcel(refs[path]))
        events.append(Recorded(record.seq, record.at, record.trace_id, event))
    return events


def _is_handed_on(event: Event, path: str) -> bool:
    """Whether a value is where parcels are: in a result or an argument, and not too deep."""
    within = (
        "output/" if type(event) is TaskCompleted else f"input/{ARGUMENTS}/" if type(event) is TaskStarted else "//"
    )
    return path.startswith(within) and path.removeprefix(within).count("/") < DEEPEST


def signal_of(row: InboxRow) -> Signal:
    """The command an inbox row stands for."""
    return Signal(
        inbox_seq=row.inbox_seq,
        kind=SignalKind(row.kind),
        name=row.name,
        payload=row.payload,
        by=row.sent_by,
        signal_id=row.dedupe_key or "",
        trace_id=row.trace_id,
        expected_state=row.expected_state,
    )


async def read_signals(rows: Sequence[InboxRow], tenant_id: str, blobs: Blobs) -> list[Signal]:
    """The commands inbox rows stand for; the output of a sub-workflow may be a blob."""
    signals = []
    for row in rows:
        signal = signal_of(row)
        if signal.kind is SignalKind.CHILD_ENDED and row.payload.get("refs"):
            signal = await _with_output(signal, tenant_id, blobs)
        signals.append(signal)
    return signals


async def _with_output(signal: Signal, tenant_id: str, blobs: Blobs) -> Signal:
    output = signal.payload["output"]
    for path, sha256 in signal.payload["refs"].items():
        output = put(output, path, msgspec.json.decode(await blobs.get(tenant_id, sha256)))
    return msgspec.structs.replace(signal, payload={**signal.payload, "output": output})
