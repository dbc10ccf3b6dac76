"""What an execution left behind: its events as they are stored, and its artifacts."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from msgspec import Meta

from interlock.doors.http.app.any_id import by_any_id
from interlock.doors.http.app.door import read_id
from interlock.doors.http.plumbing.attachment import File, attachment
from interlock.doors.http.plumbing.etag import tagged
from interlock.doors.http.plumbing.operation import Call, Reply
from interlock.kit.instants import rfc3339
from interlock.services.nouns import ArtifactRow, EventRecord

EventsLimit = Annotated[int, Meta(ge=1, le=1_000)]


class EventsQuery(msgspec.Struct, kw_only=True):
    after: Annotated[int, Meta(ge=0, le=2_147_483_647)] = 0
    limit: EventsLimit = 100


class StoredEvent(msgspec.Struct, kw_only=True):
    """An event as it was recorded. ``refs`` names the fields that were too large for it, by SHA-256."""

    seq: int
    type: str
    data: Any
    at: str
    trace_id: str
    refs: dict[str, str] | None


class EventList(msgspec.Struct, kw_only=True):
    """``next_after`` is where the next page begins; null on the last one."""

    execution_id: str
    events: list[StoredEvent]
    has_more: bool
    next_after: int | None


class ArtifactObject(msgspec.Struct, kw_only=True):
    """A named output file; ``size`` is bytes, ``url`` where its content is."""

    name: str
    size: int
    sha256: str
    content_type: str
    task_id: str
    created_at: str
    url: str


class ArtifactList(msgspec.Struct, kw_only=True):
    execution_id: str
    artifacts: list[ArtifactObject]
    total_count: int
    total: int


@by_any_id
async def list_events(call: Call[None, EventsQuery]) -> Reply:
    """The stored events of an execution, in order."""
    execution_id = read_id(call.path["execution_id"], "execution")
    limit = call.query.limit
    records = await call.services.read_executions.events(call.principal, execution_id, call.query.after, limit)
    has_more = len(records) == limit
    answer = EventList(
        execution_id=str(execution_id),
        events=[_stored(record) for record in records],
        has_more=has_more,
        next_after=records[-1].seq if has_more else None,
    )
    return tagged(answer, call.header("if-none-match"))


def _stored(record: EventRecord) -> StoredEvent:
    return StoredEvent(
        seq=record.seq,
        type=record.type,
        data=msgspec.Raw(record.data.encode()),
        at=rfc3339(record.at),
        trace_id=record.trace_id,
        refs=record.refs,
    )


@by_any_id
async def list_artifacts(call: Call[None, None]) -> Reply:
    """The artifacts of an execution, by name."""
    execution_id = read_id(call.path["execution_id"], "execution")
    rows = await call.services.read_executions.artifacts(call.principal, execution_id)
    place = f"{call.prefix}/executions/{execution_id}/artifacts"
    answer = ArtifactList(
        execution_id=str(execution_id),
        artifacts=[_artifact(row, place) for row in rows],
        total_count=len(rows),
        total=len(rows),
    )
    return tagged(answer, call.header("if-none-match"))


def _artifact(row: ArtifactRow, place: str) -> ArtifactObject:
    return ArtifactObject(
        name=row.name,
        size=row.size,
        sha256=row.sha256,
        content_type=row.content_type,
        task_id=row.task_id,
        created_at=rfc3339(row.created_at),
        url=f"{place}/{quote(row.name, safe='')}",
    )


@by_any_id
async def get_artifact(call: Call[None, None]) -> Reply:
    """The content of an artifact."""
    execution_id = read_id(call.path["execution_id"], "execution")
    row, content = await call.services.read_executions.artifact(call.principal, execution_id, call.path["name"])
    return attachment(call, File(row.name, row.content_type, row.sha256, content))
