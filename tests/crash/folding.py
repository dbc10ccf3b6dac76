"""Reading every log back as a successor would: it folds to its end, and the execution's row says the same."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import msgspec

from crash.database import Observer
from crash.verdict import Verdict
from interlock.core.engine.evolve import fold
from interlock.core.engine.program import Program
from interlock.core.events import ExecutionSucceeded, Recorded, decode_event
from interlock.core.execution import Execution, Status
from interlock.core.ids import ExecutionId
from interlock.core.workflow import Definition
from interlock.nodes import load as load_nodes
from interlock.runtime.programs import Programs

ROWS = "select execution_id, version_id, status, waiting_reason, output, error, ended_at from interlock.executions"
EVENTS = """
select execution_id, seq, type, data, refs is not null as is_partial, at, trace_id from interlock.events
order by execution_id, seq"""
VERSIONS = "select version_id, definition from interlock.versions"


async def check_folds(observer: Observer, verdict: Verdict) -> None:
    """No log that its successor could not read, and no row that says something else than its log."""
    programs = Programs(load_nodes().types)
    decoder: msgspec.json.Decoder[Definition] = msgspec.json.Decoder(Definition)
    definitions = {row["version_id"]: decoder.decode(row["definition"]) for row in await observer.fetch(VERSIONS)}
    rows = [dict(row) for row in await observer.fetch(ROWS)]
    events = [dict(row) for row in await observer.fetch(EVENTS)]
    logs = {key: list(log) for key, log in groupby(events, lambda row: row["execution_id"])}
    found: list[str] = []
    for row in rows:
        program = programs.compile(row["version_id"], definitions[row["version_id"]])
        log = logs.pop(row["execution_id"], [])
        found += [f"{row['execution_id']} {reason}" for reason in contradictions(row, program, log)]
    found += [f"{execution_id} has a log and no row" for execution_id in logs]
    verdict.expect_none("every log folds, and its row says the same", found)
    verdict.counts["logs_folded"] = verdict.counts.get("logs_folded", 0) + len(rows)


def contradictions(row: Mapping[str, Any], program: Program, log: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What is wrong with one execution: with its log, or with its row as compared to the fold."""
    execution = Execution(ExecutionId(row["execution_id"]), program)
    for event in log:
        if event["is_partial"]:
            yield f"{event['seq']} {event['type']} has values elsewhere, which no workflow of the suite should need"
            return
        try:
            record = Recorded(event["seq"], event["at"], event["trace_id"], decode_event(event["type"], event["data"]))
            if isinstance(record.event, ExecutionSucceeded) and execution.tasks:
                yield f"succeeded while {', '.join(execution.tasks)} had not ended"
            fold(execution, [record])
        except Exception as error:  # whatever a log that makes no sense raises is what is looked for
            yield f"does not fold at {event['seq']} {event['type']}: {type(error).__name__} {error}"
            return
    yield from _differences(row, execution)


def _differences(row: Mapping[str, Any], execution: Execution) -> Iterator[str]:
    if not execution.seq:
        yield "has no log"
        return
    pairs: dict[str, tuple[Any, Any]] = {
        "status": (row["status"], execution.status),
        "ended_at": (row["ended_at"], execution.ended_at),
    }
    if execution.status is not Status.QUEUED:  # why it is queued is not for the log to say
        pairs["waiting_reason"] = (row["waiting_reason"], execution.waiting_reason)
    if execution.ended is not None:
        pairs["output"] = (_decoded(row["output"]), execution.output)
        pairs["error"] = (_decoded(row["error"]), msgspec.to_builtins(execution.error))
    yield from (
        f"is {name} {here} in its row and {there} in its log" for name, (here, there) in pairs.items() if here != there
    )


def _decoded(text: str | None) -> Any:
    return None if text is None else json.loads(text)
