"""When each node ran: one bar per node on the execution's own span of time."""

from __future__ import annotations

from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from interlock.doors.cli.picture import Picture
from interlock.doors.cli.sentences import count_text
from interlock.doors.cli.signs import span_bar, status_text, style_of
from interlock.doors.cli.texts import duration, one_line

BAR = 40


@dataclass(frozen=True, slots=True)
class Row:
    """One node: begin and end are seconds since the execution began."""

    name: str
    status: str
    count: str
    begin: float
    end: float


def rows_of(picture: Picture, now: float) -> tuple[list[Row], float]:
    """The nodes that have begun, in the order they began, and how long the whole took (seconds)."""
    if picture.started_at is None:
        return [], 0.0
    start = picture.started_at
    whole = max((picture.ended_at if picture.ended_at is not None else now) - start, 0.0)
    rows = [
        Row(
            node.name,
            node.status,
            count_text(node),
            max(node.started_at - start, 0.0),
            max((whole + start if node.live or node.ended_at is None else node.ended_at) - start, 0.0),
        )
        for node in picture.nodes.values()
        if node.started_at is not None
    ]
    return sorted(rows, key=lambda row: row.begin), whole


def timeline(picture: Picture, now: float) -> Table:
    """The rows as a table with bars."""
    rows, whole = rows_of(picture, now)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("Node", no_wrap=True)
    table.add_column("Status", no_wrap=True)
    table.add_column("Took", justify="right", no_wrap=True)
    table.add_column(_scale(whole), no_wrap=True, width=BAR)
    for row in rows:
        status = status_text(row.status)
        if row.count:
            status.append(f" {row.count}")
        bar = Text(span_bar(row.begin, row.end, whole, BAR), style=style_of(row.status))
        table.add_row(one_line(row.name, 28), status, duration(row.end - row.begin), bar)
    return table


def _scale(whole: float) -> str:
    """``0`` at the left end of the bars, the whole at the right."""
    right = duration(whole)
    return "0" + right.rjust(BAR - 1)
