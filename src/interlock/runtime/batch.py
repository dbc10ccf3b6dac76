"""From entries to one flush: which go together, and how their rows are laid out for the statement."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import msgspec

from interlock.ports.ledger import NO_ROWS, Flush
from interlock.runtime.entry import Entry

MAX_ROWS = 2_000
MAX_BYTES = 4 * 1024 * 1024

_encode = msgspec.json.Encoder().encode


def take(queue: deque[Entry]) -> list[Entry]:
    """The entries of the next flush, out of the queue: all of them if they fit, else round-robin by tenant.

    Entries of one execution keep their order. A flush never updates a row twice, so an entry with a notice to another
    execution waits for the next flush if that one is told of something else, changes or begins in this one.
    """
    if sum(_weight(entry) for entry in queue) <= MAX_ROWS and sum(entry.size for entry in queue) <= MAX_BYTES:
        chosen = list(queue)
        queue.clear()
    else:
        chosen = _take_fairly(queue)
    return _hold_back(chosen, queue)


def _weight(entry: Entry) -> int:
    return len(entry.rows) + 1


def _take_fairly(queue: deque[Entry]) -> list[Entry]:
    by_tenant: OrderedDict[str, deque[Entry]] = OrderedDict()
    for entry in queue:
        by_tenant.setdefault(entry.tenant_id, deque()).append(entry)
    chosen: list[Entry] = []
    rows = size = 0
    while by_tenant:
        for tenant_id in list(by_tenant):
            waiting = by_tenant[tenant_id]
            entry = waiting[0]
            if chosen and (rows + _weight(entry) > MAX_ROWS or size + entry.size > MAX_BYTES):
                by_tenant.pop(tenant_id)
                continue
            chosen.append(waiting.popleft())
            rows += _weight(entry)
            size += entry.size
            if not waiting:
                by_tenant.pop(tenant_id)
    taken = set(map(id, chosen))
    kept = [entry for entry in queue if id(entry) not in taken]
    queue.clear()
    queue.extend(kept)
    return chosen


def _hold_back(chosen: list[Entry], queue: deque[Entry]) -> list[Entry]:
    if not any(entry.notices for entry in chosen):
        return chosen
    changing: set[UUID] = set()
    told: set[UUID] = set()
    held: set[UUID] = set()
    now: list[Entry] = []
    later: list[Entry] = []
    for entry in chosen:  # what waited is first in the queue, so nothing waits for ever
        targets = {notice["execution_id"] for notice in entry.notices}
        changes = {entry.execution_id, *(start["execution_id"] for start in entry.starts)}
        if entry.execution_id in held or changes & told or targets & (told | changing):
            held.add(entry.execution_id)
            later.append(entry)
        else:
            told |= targets
            changing |= changes
            now.append(entry)
    queue.extendleft(reversed(later))
    return now


def lay_out(entries: Sequence[Entry], number: int) -> Flush:
    """The flush of these entries. Of several changes of one execution's row only the last is written."""
    started: set[UUID] = {entry.execution_id for entry in entries if entry.is_start}
    rows = [row for entry in entries for row in entry.rows]
    columns: Iterable[tuple[Any, ...]] = zip(*rows, strict=True) if rows else ((),) * 7
    ids, seqs, types, data, refs, at, traces = columns
    flush = Flush(
        number=number,
        touched=list({entry.execution_id for entry in entries} - started),
        execution_ids=list(ids),
        seqs=list(seqs),
        types=list(types),
        data=list(data),
        refs=list(refs),
        at=list(at),
        trace_ids=list(traces),
    )
    if all(entry.is_only_events for entry in entries):
        return flush
    flush.starts = _rows(start for entry in entries for start in entry.starts)
    flush.changes = _rows({entry.execution_id: entry.change for entry in entries if entry.change is not None}.values())
    flush.parks = _rows(_last_parks(entries))
    flush.outcomes = _rows(outcome for entry in entries for outcome in entry.outcomes)
    asked = {row["approval_id"]: row for entry in entries for row in entry.approvals}
    closings = [row for entry in entries for row in entry.closings]
    for row in closings:
        if row["approval_id"] in asked:  # asked and closed in one flush: the row begins as closed
            asked[row["approval_id"]] = asked[row["approval_id"]] | {"status": "cancelled", "decided_at": row["at"]}
    flush.approvals = _rows(asked.values())
    flush.closings = _rows(row for row in closings if row["approval_id"] not in asked)
    flush.artifacts = _rows(_last_artifacts(entries))
    flush.notices = _rows(notice for entry in entries for notice in entry.notices)
    return flush


def _rows(rows: Iterable[Any]) -> str:
    found = list(rows)
    return _encode(found).decode() if found else NO_ROWS


def _last_parks(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """A park counts only if nothing follows it in the same flush."""
    parks: dict[UUID, dict[str, Any] | None] = {entry.execution_id: entry.park for entry in entries}
    return [park for park in parks.values() if park is not None]


def _last_artifacts(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    named = {(row["execution_id"], row["name"]): row for entry in entries for row in entry.artifacts}
    return list(named.values())
