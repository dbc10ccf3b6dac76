"""What the command line shows, as text: the live view, the graph, the timeline, the reasons, the lists."""

from __future__ import annotations

import io
from textwrap import dedent
from typing import Any

import pytest
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
from interlock.doors.cli.reasons import Reason, why_it_rests
from interlock.doors.cli.tables import (
    problems_list,
)
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
