"""Lists: as tables where a row is short, else one thing below the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from interlock.core.workflow import Problem
from interlock.doors.cli.programs import Check
from interlock.doors.cli.signs import status_text
from interlock.doors.cli.texts import age, as_json, duration, epoch, instant, one_line, shown, size

ID_WIDTH = 36
STATUS_WIDTH = 22
WIDE = 116
"""Columns from which instants and durations stand beside what an execution is."""
NARROW = 72
"""Columns from which there is room for how long ago an execution began."""
ROOMY = 92
"""Columns from which a status stands on one line with what is waited for."""


def plain_table(*columns: str) -> Table:
    """A table without lines, whose last column gives way first."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for number, name in enumerate(columns):
        is_last = number == len(columns) - 1
        table.add_column(name, no_wrap=not is_last, overflow="fold" if is_last else "ellipsis")
    return table


def executions_table(
    executions: Sequence[Mapping[str, Any]], names: Mapping[str, str], now: float, width: int = WIDE
) -> Table:
    """Executions with what they wait for, one a line from ``WIDE`` columns on. ``names`` are the workflows' by id.

    A narrower screen gets how long ago each began in place of instants and durations.
    """
    is_wide, has_age = width >= WIDE, NARROW <= width < WIDE
    times = (("Started (UTC)", 19), ("Took", 11)) if is_wide else (("Age", 6),) if has_age else ()
    fixed = [("Execution", ID_WIDTH), ("Status", STATUS_WIDTH if width >= ROOMY else 10), *times]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name, columns in fixed:
        table.add_column(name, width=columns, no_wrap=name != "Status", overflow="fold")
    rest = width - sum(columns + 2 for _, columns in fixed)
    table.add_column("Workflow", no_wrap=True, overflow="ellipsis", max_width=max(rest, 8))
    for found in executions:
        began, ended = epoch(found.get("start_time")), epoch(found.get("end_time"))
        took = (ended if ended is not None else now) - began if began is not None else None
        since = now - began if began is not None else None
        workflow_id = str(found.get("workflow_id") or "")
        table.add_row(
            shown(found.get("execution_id")),
            _status_with_reason(found),
            *((instant(began), duration(took)) if is_wide else (age(since),) if has_age else ()),
            one_line(names.get(workflow_id) or _called(found) or workflow_id, 200),
        )
    return table


def _called(execution: Mapping[str, Any]) -> str:
    """What a session was started as: flows of the house and single nodes are in no list of workflows."""
    session = (execution.get("metadata") or {}).get("session") or {}
    return str(session.get("flow_id") or session.get("node_id") or "")


def _status_with_reason(execution: Mapping[str, Any]) -> Text:
    status = status_text(str(execution.get("status")))
    reason = execution.get("waiting_detail") or execution.get("waiting_reason")
    if reason and str(reason).upper() != execution.get("status"):
        status.append(f" ({one_line(reason, 10)})")
    return status


def approvals_list(approvals: Sequence[Mapping[str, Any]], now: float) -> list[RenderableType]:
    """Approvals one below the other: its id and where it stands, the question over the whole width, who is asked."""
    return [part for found in approvals for part in (*_approval(found, now), Text(""))][:-1]


def _approval(found: Mapping[str, Any], now: float) -> list[RenderableType]:
    people = ", ".join(one_line(name, 60) for name in found.get("assignees") or [])
    details = [
        f"for {people}" if people else "",
        f"node {one_line(found.get('node_id'), 40)} of execution {shown(found.get('execution_id'))}",
        _decision(found),
    ]
    title = one_line(found.get("title") or "A decision is needed", 1000)
    first = Text.assemble((shown(found.get("approval_id")), "bold"), "  ", status_text(str(found.get("status"))))
    return [
        first.append(_time_left(found, now), style="dim"),
        Padding(Text(title), (0, 0, 0, 2)),
        *(Padding(Text(detail, style="dim"), (0, 0, 0, 2)) for detail in details if detail),
    ]


def _time_left(found: Mapping[str, Any], now: float) -> str:
    until = epoch(found.get("expires_at"))
    if found.get("status") != "pending" or until is None:
        return ""
    return f", {duration(until - now)} left" if until > now else ", due now"


def _decision(found: Mapping[str, Any]) -> str:
    """Who decided when and why; empty while nobody has."""
    at = epoch(found.get("decided_at"))
    if at is None:
        return ""
    by = f"by {one_line(found['decided_by'], 60)}, " if found.get("decided_by") else ""
    reason = f": {one_line(found['reason'], 200)}" if found.get("reason") else ""
    return f"{by}{instant(at)} UTC{reason}"


def problems_list(problems: Sequence[Problem], warnings: frozenset[int]) -> list[RenderableType]:
    """Every problem with its place, its value and what to do; ``warnings`` are the indexes of those that are none."""
    return [part for index, problem in enumerate(problems) for part in _problem(problem, index in warnings)]


def _problem(problem: Problem, is_warning: bool) -> list[RenderableType]:
    sign = ("! warning", "yellow") if is_warning else ("✗ error", "red")
    first = Text.assemble(sign, "  ", (shown(problem.path) or "the whole file", "bold"))
    if problem.value is not None:
        first.append(f"  {as_json(msgspec.to_builtins(problem.value), 60)}", style="dim")
    below = [shown(problem.message), *([f"→ {shown(problem.hint)}"] if problem.hint else [])]
    return [first, *(Padding(Text(line), (0, 0, 0, 4)) for line in below)]


def checks_table(checks: Sequence[Check]) -> Table:
    """Start-up checks with what was found, and the remedy where one is needed."""
    table = plain_table("", "Check", "Found")
    for check in checks:
        sign = Text("✓ good", style="green") if check.is_ok else Text("✗ bad", style="red")
        remedy = "" if check.is_ok or not check.remedy else f"\n→ {shown(check.remedy)}"
        table.add_row(sign, shown(check.name), shown(check.found) + remedy)
    return table


def artifacts_table(artifacts: Sequence[Mapping[str, Any]]) -> Table:
    """Artifacts with size and type."""
    table = plain_table("Name", "Size", "Type", "SHA-256")
    for found in artifacts:
        digest = shown(found.get("sha256") or "")[:12]
        table.add_row(
            shown(found.get("name")), size(int(found.get("size") or 0)), shown(found.get("content_type") or ""), digest
        )
    return table


def fields_table(fields: Sequence[tuple[str, Any]]) -> Table:
    """Names and values, one pair a line."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in fields:
        table.add_row(name, value if isinstance(value, Text) else shown(value))
    return table
