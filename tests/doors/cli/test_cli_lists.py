"""Lists on the command line: executions, questions, files and checks, on screens of every width."""

from __future__ import annotations

from typing import Any

import pytest

from doors.cli.test_cli_views import EXECUTION, START, expected, render
from interlock.doors.cli.programs import Check
from interlock.doors.cli.tables import (
    approvals_list,
    artifacts_table,
    checks_table,
    executions_table,
)

EXECUTIONS: list[dict[str, Any]] = [
    {
        "execution_id": EXECUTION,
        "workflow_id": "W",
        "status": "WAITING",
        "waiting_reason": "approval",
        "start_time": START * 1000,
        "end_time": None,
    },
    {
        "execution_id": EXECUTION.replace("1", "2"),
        "workflow_id": "V",
        "status": "SUCCESS",
        "start_time": (START - 7200) * 1000,
        "end_time": (START - 7200 + 3) * 1000,
    },
]


NAMES = {"W": "airports", "V": "a name that no screen of an ordinary width has room for, so that it is cut"}


APPROVALS: list[dict[str, Any]] = [
    {
        "approval_id": EXECUTION.replace("0001", "000a"),
        "execution_id": EXECUTION,
        "node_id": "ask",
        "status": "pending",
        "title": "Shall the invoice R-2211 of 1200.50 EUR to the Northern Paper Supply be paid today?",
        "assignees": ["ada@accounts.example", "role:admin"],
        "expires_at": "2026-11-18T12:06:40Z",
    },
    {
        "approval_id": EXECUTION.replace("0001", "000b"),
        "execution_id": EXECUTION,
        "node_id": "other",
        "status": "approved",
        "title": "",
        "assignees": [],
        "expires_at": "2026-11-18T12:06:40Z",
        "decided_by": "local",
        "reason": "fair",
        "decided_at": "2026-11-18T11:00:00Z",
    },
]


def render_lists() -> str:
    artifacts = [{"name": "report.md", "size": 4690, "content_type": "text/markdown", "sha256": "ab" * 32}]
    checks = [Check("python", True, "3.11.7"), Check("schema", False, "0002_more", "Run `interlock migrate up`")]
    return render(artifacts_table(artifacts), checks_table(checks))


def render_executions(width: int) -> str:
    return render(executions_table(EXECUTIONS, NAMES, START + 75, width), width=width)


def test_lists_of_files_and_checks() -> None:
    assert render_lists() == expected(
        """
        Name       Size     Type           SHA-256
        report.md  4.6 KiB  text/markdown  abababababab
                Check   Found
        ✓ good  python  3.11.7
        ✗ bad   schema  0002_more
                        → Run `interlock migrate up`
        """
    )


def test_a_wide_screen_has_an_execution_a_line_with_its_times() -> None:
    names = {"W": "airports", "V": "rivers"}
    assert render(executions_table(EXECUTIONS, names, START + 75, 116), width=116) == expected(
        """
        Execution                             Status                  Started (UTC)        Took         Workflow
        01990000-0000-7000-8000-000000000001  ◔ WAITING (approval)    2026-11-18 11:06:40  1 min 15 s   airports
        02990000-0000-7000-8000-000000000002  ✓ SUCCESS               2026-11-18 09:06:40  3.0 s        rivers
        """
    )


def test_a_middling_screen_has_an_execution_a_line_with_its_age() -> None:
    assert render_executions(100) == expected(
        """
        Execution                             Status                  Age     Workflow
        01990000-0000-7000-8000-000000000001  ◔ WAITING (approval)    1 min   airports
        02990000-0000-7000-8000-000000000002  ✓ SUCCESS               2 h     a name that no screen of an o…
        """
    )


def test_a_narrow_screen_breaks_nothing_but_what_is_waited_for() -> None:
    assert render_executions(80) == expected(
        """
        Execution                             Status      Age     Workflow
        01990000-0000-7000-8000-000000000001  ◔ WAITING   1 min   airports
                                              (approval)
        02990000-0000-7000-8000-000000000002  ✓ SUCCESS   2 h     a name that no screen…
        """
    )


@pytest.mark.parametrize("width", [60, 80, 100, 116, 120, 200])
def test_ids_are_whole_on_every_screen(width: int) -> None:
    text = render_executions(width) + "\n" + render(*approvals_list(APPROVALS, START), width=width)
    for found in (*EXECUTIONS, *APPROVALS):
        assert str(found.get("approval_id") or found["execution_id"]) in text
    assert all(len(line) <= width for line in text.splitlines())


def test_a_question_has_the_whole_width_and_every_id_that_a_command_takes() -> None:
    assert render(*approvals_list(APPROVALS, START), width=80) == expected(
        """
        01990000-0000-7000-8000-00000000000a  ○ pending, 1 h 00 min left
          Shall the invoice R-2211 of 1200.50 EUR to the Northern Paper Supply be paid
          today?
          for ada@accounts.example, role:admin
          node ask of execution 01990000-0000-7000-8000-000000000001

        01990000-0000-7000-8000-00000000000b  ✓ approved
          A decision is needed
          node other of execution 01990000-0000-7000-8000-000000000001
          by local, 2026-11-18 11:00:00 UTC: fair
        """
    )
