"""When each node ran: one bar per node on the execution's own span of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from interlock.doors.cli.picture import Picture
from interlock.doors.cli.sentences import count_text
from interlock.doors.cli.signs import span_bar, status_text, style_of
from interlock.doors.cli.texts import duration, one_line

BAR, LEAST_BAR = 40, 12
"""Columns of a bar: as many as there is room for between these."""
NAME = 28
"""Columns of a node's name at most."""


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


def timeline(picture: Picture, now: float, width: int) -> Table:
    """The rows as a table with bars, for so many columns."""
    rows, whole = rows_of(picture, now)
    bar_width = _bar_width(rows, width)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("Node", no_wrap=True)
    table.add_column("Status", no_wrap=True)
    table.add_column("Took", justify="right", no_wrap=True)
    table.add_column(_scale(whole, bar_width), no_wrap=True, width=bar_width)
    for row in rows:
        bar = Text(span_bar(row.begin, row.end, whole, bar_width), style=style_of(row.status))
        table.add_row(one_line(row.name, NAME), _status(row), duration(row.end - row.begin), bar)
    return table


def _status(row: Row) -> Text:
    status = status_text(row.status)
    return status.append(f" {row.count}") if row.count else status


def _bar_width(rows: Sequence[Row], width: int) -> int:
    """What the other columns leave, within bounds."""
    name = max((len(one_line(row.name, NAME)) for row in rows), default=0)
    status = max((_status(row).cell_len for row in rows), default=0)
    took = max((len(duration(row.end - row.begin)) for row in rows), default=0)
    taken = max(name, len("Node")) + max(status, len("Status")) + max(took, len("Took")) + 4 * 2
    return min(max(width - taken, LEAST_BAR), BAR)


def _scale(whole: float, width: int) -> str:
    """``0`` at the left end of the bars, the whole at the right."""
    return "0" + duration(whole).rjust(width - 1)
