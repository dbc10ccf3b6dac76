"""Everything ``show`` says of one execution, gathered once and laid out in sections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from interlock.doors.cli.diagram import draw, read_diagram
from interlock.doors.cli.facts import Fact, read_stored
from interlock.doors.cli.folding import fold, learn_limits
from interlock.doors.cli.picture import PENDING, Picture
from interlock.doors.cli.pretty import pretty
from interlock.doors.cli.reasons import Reason, why_it_rests
from interlock.doors.cli.sentences import count_text, sentence_of
from interlock.doors.cli.server import Server, segment
from interlock.doors.cli.signs import status_text
from interlock.doors.cli.tables import fields_table
from interlock.doors.cli.texts import as_json, duration, epoch, instant, one_line, time_of_day
from interlock.doors.cli.timeline import timeline
from interlock.doors.cli.watching import picture_for, workflow_of

_NOTHING: tuple[Any, ...] = (None, "", {}, [])
PAGE = 1000
"""Events that are asked for at a time."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One execution: the server's objects, its facts so far, a sentence for each that is worth one, the fold."""

    execution: dict[str, Any]
    workflow: dict[str, Any]
    facts: Sequence[Fact]
    sentences: Sequence[tuple[Fact, str]]
    picture: Picture


async def look(server: Server, execution_id: str) -> Shown:
    """Gather everything about an execution as it is now. Raises NOT_FOUND."""
    execution = await server.get(f"/executions/{segment(execution_id)}")
    workflow = await workflow_of(server, execution)
    picture = picture_for(execution, workflow)
    facts: list[Fact] = []
    sentences: list[tuple[Fact, str]] = []
    for fact in await facts_of(server, picture.execution_id):
        facts.append(fact)
        fold(picture, fact)
        if None in picture.limits.values():
            learn_limits(picture, execution)
        said = sentence_of(fact, picture)
        if said is not None:
            sentences.append((fact, said))
    return Shown(execution, workflow, facts, sentences, picture)


async def facts_of(server: Server, execution_id: str) -> list[Fact]:
    """Everything that has happened to an execution, page by page."""
    facts: list[Fact] = []
    after: int | None = 0
    while after is not None:
        page = await server.get(f"/executions/{segment(execution_id)}/events", after=after, limit=PAGE)
        facts.extend(map(read_stored, page["events"]))
        after = page.get("next_after")
    return facts


def sections(seen: Shown, now: float, events: int, width: int) -> list[RenderableType]:
    """The sections in reading order, for so many columns; ``events`` says how many of the last ones, 0 means all."""
    reasons = why_it_rests(seen.execution, seen.picture, now)
    return [
        head(seen, now),
        *_section("Why it is not moving", _why(reasons) if reasons else []),
        *_section("Graph", [_graph(seen)] if seen.workflow else []),
        *_section("Timeline", [timeline(seen.picture, now, width)] if seen.picture.started_at is not None else []),
        *_section("Events", _events(seen, events)),
        *_section("Error" if seen.picture.error else "Result", _result(seen)),
    ]


def _section(title: str, parts: Sequence[RenderableType]) -> list[RenderableType]:
    return [Text(""), Text(title, style="bold"), *parts] if parts else []


def head(seen: Shown, now: float) -> RenderableType:
    """What it is: ids, status, times, who started it with what."""
    execution = seen.execution
    began, ended = epoch(execution.get("start_time")), epoch(execution.get("end_time"))
    workflow = one_line(seen.workflow.get("name") or execution.get("workflow_id") or "", 60)
    rows: list[tuple[str, Any]] = [
        ("execution", execution["execution_id"]),
        ("workflow", f"{workflow}, version {execution.get('workflow_version')}"),
        ("status", status_text(str(execution.get("status")))),
        ("started", f"{instant(began)} UTC by {one_line(execution.get('triggered_by'), 40)}"),
        *_end(began, ended, now),
        ("input", as_json(execution.get("inputs"), 200)),
        ("trace", execution.get("trace_id")),
    ]
    if execution.get("parent_execution_id"):
        rows.insert(1, ("part of", execution["parent_execution_id"]))
    return fields_table(rows)


def _end(began: float | None, ended: float | None, now: float) -> list[tuple[str, Any]]:
    if began is None:
        return []
    if ended is None:
        return [("so far", duration(now - began))]
    return [("ended", f"{instant(ended)} UTC, after {duration(ended - began)}")]


def _why(reasons: Sequence[Reason]) -> list[RenderableType]:
    lines: list[RenderableType] = []
    for reason in reasons:
        lines.append(Text(reason.sentence))
        if reason.request not in _NOTHING:
            lines.append(Padding(Text(pretty(reason.request)), (0, 0, 0, 4)))
        # Never broken by us: a command is copied in one piece.
        lines += [Text(f"  → {command}", style="cyan", no_wrap=True) for command in reason.commands]
    return lines


def _graph(seen: Shown) -> RenderableType:
    diagram = read_diagram(seen.workflow)
    nodes = seen.picture.nodes
    statuses = {vertex.node_id: nodes[vertex.node_id].status for vertex in diagram.vertices if vertex.node_id in nodes}
    if seen.picture.is_over:
        statuses = {node_id: status for node_id, status in statuses.items() if status != PENDING}
    notes = {node.node_id: count_text(node) for node in nodes.values()}
    return draw(diagram, str(seen.workflow.get("name") or "workflow"), statuses, notes)


def _events(seen: Shown, count: int) -> list[RenderableType]:
    chosen = seen.sentences[-count:]
    left_out = len(seen.sentences) - len(chosen)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(justify="right", no_wrap=True, style="dim", min_width=5)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for fact, said in chosen:
        table.add_row(str(fact.seq), time_of_day(fact.at), said)
    before: list[RenderableType] = [Text(f"… {left_out} before; all with --events 0", style="dim")] if left_out else []
    return [*before, table] if chosen else before


def _result(seen: Shown) -> list[RenderableType]:
    picture = seen.picture
    if picture.error:
        return [Text(picture.error, style="red")]
    result = seen.execution.get("result")
    return [Text(pretty(result))] if picture.is_over and result is not None else []
