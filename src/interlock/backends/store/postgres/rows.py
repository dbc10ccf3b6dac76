"""From rows to the nouns that callers see."""

from __future__ import annotations

from typing import Any

import asyncpg
import msgspec

from interlock.core.errors import unreadable
from interlock.core.ids import VersionId, WorkflowId
from interlock.core.large import put_back
from interlock.core.workflow import Definition, Version, Workflow
from interlock.ports.store import ArtifactRow, EventRecord, ExecutionRow, WorkflowHead

_definition: msgspec.json.Decoder[Definition] = msgspec.json.Decoder(Definition)


def definition_of(text: str) -> Definition:
    """A definition as it was stored. Raises INTERNAL STORED_UNREADABLE."""
    try:
        return _definition.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise unreadable("The definition of a version") from error


def head_of(row: asyncpg.Record) -> WorkflowHead:
    """The head of a workflow from its row."""
    return WorkflowHead(**row)


def version_of(row: asyncpg.Record) -> Version:
    """A version from its row; ``version_created_at`` is its own time, beside that of its workflow."""
    return Version(
        version_id=VersionId(row["version_id"]),
        workflow_id=WorkflowId(row["workflow_id"]),
        number=row["number"],
        digest=row["digest"],
        definition=definition_of(row["definition"]),
        created_at=row["version_created_at"],
        created_by=row["created_by"],
    )


def workflow_of(row: asyncpg.Record) -> Workflow:
    """A workflow and one of its versions from their joined row."""
    return Workflow(
        workflow_id=WorkflowId(row["workflow_id"]),
        tenant_id=row["tenant_id"],
        user_id=row["user_id"],
        visibility=row["visibility"],
        kind=row["kind"],
        name=row["name"],
        description=row["description"],
        tags=tuple(row["tags"]),
        icon_url=row["icon_url"],
        version=version_of(row),
        source=msgspec.json.decode(row["source"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def execution_of(row: asyncpg.Record) -> ExecutionRow:
    """An execution from its row; the columns are the fields."""
    columns = dict(row)
    for name in ("input", "output", "error", "metadata"):
        columns[name] = decoded(columns[name])
    for name in ("input_refs", "output_refs"):
        columns[name] = decoded(columns[name]) or {}
    found = ExecutionRow(**columns)
    refs = found.input_refs | found.output_refs
    return put_back(found, refs, {}) if refs else found


def event_record_of(row: asyncpg.Record) -> EventRecord:
    """An event for those who watch; its data stay the text that was stored."""
    return EventRecord(
        seq=row["seq"],
        type=row["type"],
        data=row["data"],
        refs=decoded(row["refs"]),
        at=row["at"],
        trace_id=row["trace_id"],
    )


def artifact_of(row: asyncpg.Record) -> ArtifactRow:
    """An artifact from its row."""
    return ArtifactRow(**row)


def decoded(text: str | None) -> Any:
    """The value of a json column."""
    return None if text is None else msgspec.json.decode(text)


def encoded(value: Any) -> str:
    """A value for a json column."""
    return msgspec.json.encode(value).decode()
