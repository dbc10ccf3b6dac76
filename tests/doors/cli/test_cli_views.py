"""What the command line shows, as text: the live view, the graph, the timeline, the reasons, the lists."""

from __future__ import annotations

import io
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import RenderableType

from interlock.core.workflow import Problem
from interlock.doors.cli.asking import question
from interlock.doors.cli.diagram import draw, read_diagram
from interlock.doors.cli.facts import Fact
from interlock.doors.cli.folding import fold
from interlock.doors.cli.live import live_view
from interlock.doors.cli.output import PlainConsole
from interlock.doors.cli.picture import Picture, begin
from interlock.doors.cli.pretty import pretty
from interlock.doors.cli.programs import Check
from interlock.doors.cli.reasons import Reason, why_it_rests
from interlock.doors.cli.screens import outcome_line
from interlock.doors.cli.signs import span_bar
from interlock.doors.cli.tables import (
    approvals_list,
    artifacts_table,
    checks_table,
    executions_table,
    problems_list,
)
from interlock.doors.cli.texts import age, duration, epoch, one_line, shown, size
from interlock.doors.cli.timeline import timeline

START = 1_795_000_000.0  # 2026-11-18 11:06:40 UTC
NODES = [
    ("read", "read", "python"),
    ("batches", "batches", "map"),
    ("check", "check", "python"),
    ("fetch", "fetch rates", "http_request"),
    ("ask", "ask", "approval"),
    ("report", "report", "write_artifact"),
]
MAPS = {"waits_for": "iterations", "input": {"limit": 33}}
EXECUTION = "01990000-0000-7000-8000-000000000001"


def render(*parts: RenderableType, width: int = 100) -> str:
    """The parts as a terminal of so many columns would show them, without colours."""
    console = PlainConsole(file=io.StringIO(), width=width, markup=False, emoji=False, highlight=False)
    for part in parts:
        console.print(part)
    shown_text = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in shown_text.splitlines())


def expected(text: str) -> str:
    return dedent(text).strip("\n")


def half_way() -> Picture:
    """A workflow of which a map is half done, a node retries, and a person is asked."""
    picture = begin(EXECUTION, "airports", NODES)
    told: list[tuple[float, str, dict[str, Any]]] = [
        (0, "execution.started", {}),
        (0, "task.started", {"task_id": "read", "node_id": "read"}),
        (2, "task.completed", {"task_id": "read", "node_id": "read"}),
        (2, "task.started", {"task_id": "batches", "node_id": "batches", **MAPS}),
        (2, "task.started", {"task_id": "fetch", "node_id": "fetch"}),
        *[(2, "task.started", {"task_id": f"batches[{i}]/check", "node_id": "check"}) for i in range(14)],
        *[(5, "task.completed", {"task_id": f"batches[{i}]/check", "node_id": "check"}) for i in range(12)],
        (
            6,
            "task.failed",
            {
                "task_id": "fetch",
                "node_id": "fetch",
                "attempt": 1,
                "will_retry": True,
                "retry_at": "2026-11-18T11:06:55Z",
                "error": {"code": "HTTP_503", "message": "come back later"},
            },
        ),
        (7, "task.started", {"task_id": "ask", "node_id": "ask", "waits_for": "approval", "wake_at": None}),
        (
            7,
            "approval.requested",
            {"task_id": "ask", "node_id": "ask", "approval_id": "A", "expires_at": "2026-11-18T12:06:40Z"},
        ),
    ]
    for seq, (after, kind, data) in enumerate(told, 1):
        fold(picture, Fact(seq=seq, type=kind, at=START + after, data=data))
    return picture


def render_live() -> str:
    return render(live_view(half_way(), START + 10, ["11:06:46.000  fetch rates will be tried again"]))


def render_timeline() -> str:
    return render(timeline(half_way(), START + 10, 100))


WORKFLOW: dict[str, Any] = {
    "name": "airports",
    "kind": "graph",
    "picture": {
        "nodes": [
            {"id": "read", "label": "read", "type": "python", "initial": True},
            {"id": "batches", "label": "batches", "type": "map"},
            {"id": "check", "label": "check", "type": "python"},
            {"id": "many", "label": "many?", "type": "condition"},
            {"id": "ask", "label": "ask", "type": "approval"},
            {"id": "report", "label": "report", "type": "write_artifact"},
        ],
        "edges": [
            {"from": "read", "to": "batches", "label": ""},
            {"from": "batches", "to": "check", "label": "iteration"},
            {"from": "check", "to": "batches", "label": ""},
            {"from": "batches", "to": "many", "label": ""},
            {"from": "many", "to": "ask", "label": "true"},
            {"from": "many", "to": "report", "label": "false"},
            {"from": "ask", "to": "report", "label": "confirmed"},
        ],
    },
}


def render_graph() -> str:
    statuses = {"read": "completed", "batches": "running", "check": "running", "many": "pending"}
    return render(draw(read_diagram(WORKFLOW), "airports", statuses, {"check": "12/33"}))


def render_reasons() -> str:
    execution = {
        "execution_id": EXECUTION,
        "status": "WAITING",
        "waiting_reason": "human",
        "waiting_detail": "approval",
        "waiting_since": "2026-11-18T11:06:47Z",
        "pending_approvals": [
            {"approval_id": "A", "title": "Publish?", "assignees": ["ada"], "expires_at": "2026-11-18T12:06:40Z"}
        ],
        "valid_events": [],
    }
    reasons = why_it_rests(execution, half_way(), START + 10)
    return "\n".join(f"{reason.sentence} [{', '.join(reason.commands)}]" for reason in reasons)


def render_problems() -> str:
    problems = [
        Problem(
            code="NODE_TYPE_UNKNOWN",
            message="Unknown node type 'htp_request'",
            path="nodes[2].type",
            node_id="c",
            value="htp_request",
            hint="did you mean http_request?",
        ),
        Problem(code="KEY_IGNORED", message="Unknown key 'retires' is ignored", path="nodes[0].retires"),
    ]
    return render(*problems_list(problems, frozenset({1})), width=60)


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


def render_question() -> str:
    approval = {
        "approval_id": "A",
        "node_id": "pay",
        "title": "Pay 90 EUR?",
        "description": "More than usual.",
        "request": {"amount": 90, "to": "ACME"},
        "assignees": ["role:admin"],
        "expires_at": "2026-11-18T12:06:40Z",
    }
    return render(question(approval))


def test_the_live_view_shows_where_every_node_stands() -> None:
    assert render_live() == expected(
        """
        airports  01990000-0000-7000-8000-000000000001
        ● RUNNING  ━━━━━━━━━╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌  1/6 nodes  10.0 s

        Node          Status           Try  Started   Took                  Detail
        read          ✓ completed             +0 ms  2.0 s  ━━━
        batches       ● running              +2.0 s  8.0 s    ━━━━━━━━━━━━
          check       ● running 12/33        +2.0 s  8.0 s    ━━━━━━━━━━━━
        fetch rates   ↻ retrying             +2.0 s  8.0 s    ━━━━━━━━━━━━  its next attempt, 5.0 s left; H…
        ask           ◔ waiting              +7.0 s  3.0 s           ━━━━━  a person's decision, 59 min 50 …
        report        ○ pending

        11:06:46.000  fetch rates will be tried again
        """
    )


def test_a_low_screen_shows_what_moves_first() -> None:
    shown_text = render(live_view(half_way(), START + 10, height=12))
    assert [line.split()[0] for line in shown_text.splitlines()[4:]] == ["batches", "check", "fetch", "ask", "…"]


def test_the_timeline_has_a_bar_for_every_node_that_began() -> None:
    assert render_timeline() == expected(
        """
        Node         Status            Took  0                                 10.0 s
        read         ✓ completed      2.0 s  ━━━━━━━━
        batches      ● running        8.0 s          ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━
        check        ● running 12/33  8.0 s          ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━
        fetch rates  ↻ retrying       8.0 s          ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━
        ask          ◔ waiting        3.0 s                              ━━━━━━━━━━━━
        """
    )


def test_the_graph_shows_each_node_once_with_its_status() -> None:
    assert render_graph() == expected(
        """
        airports
        └── read (python)  ✓ completed
            └── batches (map)  ● running
                ├── [iteration] check (python)  ● running  12/33
                │   └── ↪ batches
                └── many? (condition)  ○ pending
                    ├── [true] ask (approval)
                    │   └── [confirmed] report (write_artifact)
                    └── [false] ↪ report
        """
    )


def test_a_graph_without_a_beginning_is_drawn_all_the_same() -> None:
    boxes = [{"id": name, "label": name, "type": ""} for name in "ab"]
    edges = [{"from": "a", "to": "b", "label": "GO"}, {"from": "b", "to": "a", "label": "BACK"}]
    tree = draw(read_diagram({"picture": {"nodes": boxes, "edges": edges}}), "circle", {}, {})
    assert render(tree) == "circle\n└── a\n    └── [GO] b\n        └── [BACK] ↪ a"


def test_a_graph_of_a_thousand_nodes_is_cut() -> None:
    boxes = [{"id": str(number), "label": str(number), "type": "echo", "initial": True} for number in range(1000)]
    lines = render(draw(read_diagram({"picture": {"nodes": boxes, "edges": []}}), "wide", {}, {})).splitlines()
    assert (len(lines), lines[-1]) == (302, "└── … 700 more nodes")


def test_the_reasons_name_what_is_awaited_and_the_command_that_helps() -> None:
    assert render_reasons() == expected(
        """
        It waits for a person's decision. Since 2026-11-18 11:06:47 UTC. []
        The question is “Publish?” to ada, until 2026-11-18 12:06:40 UTC. [interlock approve A, interlock deny A]
        fetch rates waits for its next attempt, 5.0 s left. []
        """
    )


@pytest.mark.parametrize(
    ("execution", "why", "command"),
    [
        ({"status": "PAUSED"}, "It is paused: no new node starts.", "interlock resume E"),
        ({"status": "NEW"}, "It waits for a free slot of the server; nothing of it has run yet.", ""),
        ({"status": "WAITING", "waiting_detail": "lost_owner"}, "The server process that worked on it is gone;", ""),
        ({"status": "WAITING", "waiting_reason": "new_word"}, "It waits (new_word).", ""),
        ({"status": "WAITING"}, "It rests.", ""),
    ],
)
def test_every_way_to_rest_has_a_sentence(execution: dict[str, Any], why: str, command: str) -> None:
    (reason,) = why_it_rests({"execution_id": "E", **execution}, begin("E", "w"), START)
    assert reason.sentence.startswith(why)
    assert reason.commands == ((command,) if command else ())


def test_a_flow_says_which_events_it_accepts() -> None:
    execution = {"execution_id": "E", "status": "WAITING", "waiting_detail": "input", "valid_events": ["YES", "NO"]}
    reasons = why_it_rests(execution, begin("E", "w"), START)
    assert reasons[1] == Reason("It accepts YES, NO.", ("interlock signal E YES",))


@pytest.mark.parametrize("status", ["RUNNING", "SUCCESS", "ERROR", "CANCELED", "TIMEOUT"])
def test_what_moves_or_has_ended_needs_no_reason(status: str) -> None:
    assert why_it_rests({"execution_id": "E", "status": status}, begin("E", "w"), START) == []


def test_problems_have_place_value_and_hint() -> None:
    assert render_problems() == expected(
        """
        ✗ error  nodes[2].type  "htp_request"
            Unknown node type 'htp_request'
            → did you mean http_request?
        ! warning  nodes[0].retires
            Unknown key 'retires' is ignored
        """
    )


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


@pytest.mark.parametrize("width", [80, 90, 100, 140])
def test_a_timeline_fits_its_screen_and_keeps_its_words(width: int) -> None:
    lines = render(timeline(half_way(), START + 10, width), width=width).splitlines()
    assert all(len(line) <= width and "…" not in line for line in lines)
    assert lines[0].endswith("10.0 s")


def test_a_narrow_live_view_tells_what_is_waited_for_in_place_of_bars() -> None:
    lines = render(live_view(half_way(), START + 10, width=80), width=80).splitlines()
    assert "a person's decision" in next(line for line in lines if line.startswith("ask"))
    assert not any("━" in line for line in lines[3:])


def test_a_question_shows_the_real_request() -> None:
    assert render_question() == expected(
        """
        ╭─ Pay 90 EUR? ────────────────────────────────────────────────────────────────────────────────────╮
        │ More than usual.                                                                                 │
        │                                                                                                  │
        │ {"amount":90,"to":"ACME"}                                                                        │
        │                                                                                                  │
        │ approval A of node pay                                                                           │
        │ for role:admin                                                                                   │
        │ until 2026-11-18 12:06:40 UTC                                                                    │
        ╰──────────────────────────────────────────────────────────────────────────────────────────────────╯
        """
    )


def test_a_request_cannot_steer_the_terminal_or_pretend_to_be_something_else() -> None:
    evil = "pay\x1b[2J\x1b[H\u202eEUR 09\x07[bold]"
    approval = {"approval_id": "A", "node_id": evil, "title": evil, "description": evil, "request": {evil: [evil]}}
    text = render(question(approval))
    assert not any(sign in text for sign in "\x1b\x07\u202e")
    assert text.count("\\u001b[2J") >= 4
    assert "[bold]" in text


def test_a_large_request_is_cut_and_says_where_the_rest_is() -> None:
    lines = pretty([{"number": number, "text": "x" * 60} for number in range(100)], "`more`").splitlines()
    assert (len(lines), lines[-1]) == (41, "… 62 more lines; see all with `more`")
    assert pretty({"a": [], "b": {}}) == '{"a":[],"b":{}}'
    assert pretty("plain\ntext") == "plain\ntext"


@pytest.mark.parametrize(
    ("status", "error", "line"),
    [
        ("SUCCESS", "", "Succeeded."),
        ("ERROR", "C: m", "Failed: C: m"),
        ("TIMEOUT", "", "Ran out of time."),
        ("CANCELED", "", "Cancelled."),
        ("RUNNING", "", "Left while RUNNING."),
    ],
)
def test_the_outcome_is_one_sentence(status: str, error: str, line: str) -> None:
    picture = begin("E", "w")
    picture.status, picture.error = status, error
    assert outcome_line(picture).plain == line


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (-1, "0 ms"),
        (0.04, "40 ms"),
        (0.9996, "1.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3780, "1 h 03 min"),
        (187_200, "2 d 04 h"),
    ],
)
def test_spans_of_time_read_well(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0.04, "40 ms"),
        (59.9, "59.9 s"),
        (60, "1 min"),
        (3569, "59 min"),
        (3600, "1 h"),
        (86_000, "23 h"),
        (86_400, "1 d"),
    ],
)
def test_ages_are_short(seconds: float | None, text: str) -> None:
    assert age(seconds) == text
    assert len(text) <= 6


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (12 << 20, "12.0 MiB"), (5 << 40, "5.0 TiB")]
)
def test_sizes_read_well(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("value", "at"),
    [(None, None), (True, None), (1500, 1.5), ("1970-01-01T00:00:02Z", 2.0), ("nonsense", None)],
)
def test_instants_are_read_in_both_forms(value: Any, at: float | None) -> None:
    assert epoch(value) == at


@given(st.text())
def test_no_text_keeps_a_character_that_steers(text: str) -> None:
    safe = shown(text)
    assert all(sign in "\t\n" or sign.isprintable() or sign.isspace() or ord(sign) > 0x9F for sign in safe)
    assert "\n" not in one_line(text)
    assert len(one_line(text, 20)) <= 20


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e6), st.integers(1, 200))
def test_a_bar_stays_on_its_line_and_is_always_seen(begin_at: float, end_at: float, whole: float, width: int) -> None:
    bar = span_bar(begin_at, end_at, whole, width)
    assert 1 <= len(bar) <= width
    assert "━" in bar
