"""The live view: a table of nodes that is drawn again and again while an execution moves."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from interlock.doors.cli.picture import NodePicture, Picture
from interlock.doors.cli.sentences import count_text, wait_text
from interlock.doors.cli.signs import share_bar, span_bar, status_text, style_of
from interlock.doors.cli.texts import duration, one_line

BAR = 14
ROOMY = 100
"""Columns from which bars stand beside what is waited for."""
SHARE_BAR = 40
MARGIN = 8
"""Lines of the view that are neither rows nor recent lines, and a little air."""
MAX_ROWS = 30
"""Rows of a table without a screen's end; nodes that rest before their turn or have ended give way first."""

_URGENCY = {"running": 0, "waiting": 0, "retrying": 0, "failed": 0, "completed": 1, "stopped": 1}


def live_view(
    picture: Picture, now: float, recent: Sequence[str] = (), height: int = MAX_ROWS + 2 * MARGIN, width: int = ROOMY
) -> RenderableType:
    """The whole view at an instant (seconds since 1970), at most ``height`` lines, the ``recent`` ones at its end.

    Below ``ROOMY`` columns the bars give way to what is waited for.
    """
    lines = [_cut(line, "dim") for line in recent]
    rows = max(height - len(lines) - MARGIN, 3)
    return Group(
        head(picture, now),
        Text(""),
        node_table(picture, now, rows, has_bars=width >= ROOMY),
        *([Text(""), *lines] if lines else []),
    )


def head(picture: Picture, now: float) -> Text:
    """Name, id, status and overall progress."""
    end = picture.ended_at if picture.ended_at is not None else now
    elapsed = duration(end - picture.started_at) if picture.started_at is not None else ""
    over = sum(node.share >= 1.0 for node in picture.nodes.values())
    return Text.assemble(
        (one_line(picture.workflow or "workflow", 40), "bold"),
        "  ",
        (picture.execution_id, "dim"),
        "\n",
        status_text(picture.status),
        "  ",
        (share_bar(picture.share, SHARE_BAR), style_of(picture.status)),
        f"  {over}/{len(picture.nodes)} nodes  {elapsed}",
    )


def node_table(picture: Picture, now: float, max_rows: int, *, has_bars: bool) -> Table:
    """A row per node, at most so many: where it stands, when it began, how long it took, what it waits for."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("Node", no_wrap=True, min_width=12)
    table.add_column("Status", no_wrap=True, min_width=10)
    table.add_column("Try", justify="right", no_wrap=True)
    if has_bars:
        table.add_column("Started", justify="right", no_wrap=True)
    table.add_column("Took", justify="right", no_wrap=True)
    if has_bars:
        table.add_column("", width=BAR, no_wrap=True)
    table.add_column("Detail", overflow="ellipsis")  # the one column that gives way on a narrow screen
    rows, hidden = _rows(picture, max_rows)
    for node in rows:
        table.add_row(*_row(picture, node, now, has_bars))
    if hidden:
        table.add_row(Text(f"… {hidden} more", style="dim"))
    return table


def _rows(picture: Picture, max_rows: int) -> tuple[list[NodePicture], int]:
    """The nodes that are shown, in their order, and how many are not."""
    nodes = list(picture.nodes.values())
    if len(nodes) <= max_rows:
        return nodes, 0
    kept = {id(node) for node in sorted(nodes, key=lambda node: _URGENCY.get(node.status, 2))[:max_rows]}
    return [node for node in nodes if id(node) in kept], len(nodes) - max_rows


def _row(picture: Picture, node: NodePicture, now: float, has_bars: bool) -> tuple[RenderableType, ...]:
    status = node.status
    label = status_text(status)
    count = count_text(node)
    if count:
        label.append(f" {count}")
    name = ("  " if node.is_inner else "") + one_line(node.name, 26 if node.is_inner else 28)
    tried = str(node.attempt) if node.attempt > 1 else ""
    detail = _cut(_detail(node, now), "dim")
    if node.started_at is None or picture.started_at is None:
        return name, label, tried, *(("", "", "") if has_bars else ("",)), detail
    end = now if node.live or node.ended_at is None else node.ended_at
    took = duration(end - node.started_at)
    if not has_bars:
        return name, label, tried, took, detail
    whole = (picture.ended_at if picture.ended_at is not None else now) - picture.started_at
    begin = node.started_at - picture.started_at
    bar = Text(span_bar(begin, end - picture.started_at, whole, BAR), style=style_of(status))
    return name, label, tried, f"+{duration(begin)}", took, bar, detail


def _detail(node: NodePicture, now: float) -> str:
    wait = wait_text(node.waits(), now)
    if wait and node.error:
        return f"{wait}; {one_line(node.error, 60)}"
    if wait:
        return wait
    if node.error:
        return one_line(node.error, 80)
    if node.live and node.progress is not None:
        return f"{node.progress:.0%} {one_line(node.message, 60)}".strip()
    return one_line(node.message, 60) if node.live else ""


def _cut(text: str, style: str) -> Text:
    """One line that ends in an ellipsis where the screen ends."""
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")
