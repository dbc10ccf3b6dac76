"""Lists as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from rich.table import Table
from rich.text import Text

from interlock.core.workflow import Problem
from interlock.doors.cli.programs import Check
from interlock.doors.cli.signs import status_text
from interlock.doors.cli.texts import as_json, duration, epoch, instant, one_line, shown, size

ID_WIDTH = 36


def plain_table(*columns: str, has_ids: bool = False) -> Table:
    """A table without lines. Its last column gives way first; ids in the first one are never cut."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for number, name in enumerate(columns):
        is_last = number == len(columns) - 1
        table.add_column(
            name,
            no_wrap=not is_last,
            overflow="fold" if is_last else "ellipsis",
            min_width=ID_WIDTH if has_ids and number == 0 else None,
        )
    return table


def executions_table(executions: Sequence[Mapping[str, Any]], names: Mapping[str, str], now: float) -> Table:
    """Executions with what they wait for. ``names`` are the workflows' by id."""
    table = plain_table("Execution", "Status", "Started (UTC)", "Took", "Workflow", has_ids=True)
    for found in executions:
        began, ended = epoch(found.get("start_time")), epoch(found.get("end_time"))
        took = (ended if ended is not None else now) - began if began is not None else None
        workflow_id = str(found.get("workflow_id") or "")
        status = status_text(str(found.get("status")))
        reason = found.get("waiting_detail") or found.get("waiting_reason")
        if reason and str(reason).upper() != found.get("status"):
            status.append(f" ({one_line(reason, 20)})")
        table.add_row(
            shown(found.get("execution_id")),
            status,
            instant(began),
            duration(took),
            one_line(names.get(workflow_id, workflow_id), 40),
        )
    return table


def approvals_table(approvals: Sequence[Mapping[str, Any]]) -> Table:
    """Approvals with who is asked and until when."""
    table = plain_table("Approval", "Status", "Until (UTC)", "For", "Question", has_ids=True)
    for found in approvals:
        people = ", ".join(map(str, found.get("assignees") or [])) or "anybody"
        table.add_row(
            shown(found.get("approval_id")),
            status_text(str(found.get("status"))),
            instant(epoch(found.get("expires_at"))),
            one_line(people, 30),
            one_line(found.get("title") or found.get("node_id"), 100),
        )
    return table


def problems_table(problems: Sequence[Problem], warnings: frozenset[int]) -> Table:
    """Every problem with its place, its value and what to do; ``warnings`` are the indexes of those that are none."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name, ratio in (("", None), ("Where", 3), ("Problem", 5), ("Value", 2), ("What to do", 4)):
        table.add_column(name, ratio=ratio, overflow="fold")
    for index, problem in enumerate(problems):
        sign = Text("! warning", style="yellow") if index in warnings else Text("✗ error", style="red")
        value = "" if problem.value is None else as_json(msgspec.to_builtins(problem.value), 60)
        table.add_row(sign, shown(problem.path), shown(problem.message), value, shown(problem.hint))
    return table


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
