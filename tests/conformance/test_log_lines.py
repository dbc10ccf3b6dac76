"""Log lines: their three forms, what they never show, and that nobody can write one who only sends texts."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.backends.telemetry.lines import MAX_LINE
from interlock.backends.telemetry.log_file import LogFile
from interlock.backends.telemetry.logs import configure
from interlock.backends.telemetry.redact import Redactor

KNOWN = "Tr0ub4dor&3/x+y"
CALM = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
MANY = settings(max_examples=60, deadline=None, suppress_health_check=CALM)
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

Sink = Callable[..., io.StringIO]


@pytest.fixture
def sink() -> Iterator[Sink]:
    """Configures the log of this process into a text; everything is as before at the end."""
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = list(root.handlers), root.level

    def make(form: str, level: str = "INFO", **more: Any) -> io.StringIO:
        stream = io.StringIO()
        configure(level, form, stream=stream, **more)
        return stream

    yield make
    structlog.configure(**before)
    root.handlers[:] = handlers
    root.setLevel(level)


def speak(**fields: Any) -> None:
    structlog.get_logger("tests").info("order.placed", **fields)


def test_json_is_one_object_with_time_level_message_event_and_logger_first(sink: Sink) -> None:
    stream = sink("json")
    speak(amount=3, note="ä")
    record = json.loads(stream.getvalue())
    assert list(record) == ["timestamp", "level", "message", "event", "logger", "amount", "note"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record.pop("timestamp"))
    assert record == {
        "level": "info",
        "message": "order.placed",
        "event": "order.placed",
        "logger": "tests",
        "amount": 3,
        "note": "ä",
    }


def test_standard_names_the_place_and_simple_only_level_and_message(sink: Sink) -> None:
    stream = sink("standard")
    speak(amount=3, note="two words", empty="")
    at, level, site, told = stream.getvalue().rstrip("\n").split(" - ", 3)
    assert datetime.fromisoformat(at)
    assert level == "INFO"
    assert re.fullmatch(r"test_log_lines\.py:\d+:speak", site)
    assert told == 'order.placed amount=3 note="two words" empty=""'
    stream = sink("simple")
    speak(amount=3)
    assert stream.getvalue() == "INFO - order.placed\n"


def test_marks_stand_only_in_text_and_only_if_wanted(sink: Sink) -> None:
    for form, has_marks, seen in (("simple", True, True), ("simple", False, False), ("json", True, False)):
        stream = sink(form, has_marks=has_marks)
        structlog.get_logger("x").info("request.completed")
        assert ("📤" in stream.getvalue()) is seen


def test_libraries_speak_through_the_same_sink(sink: Sink) -> None:
    stream = sink("json")
    try:
        raise ValueError("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.abcdefghijk")
    except ValueError:
        logging.getLogger("asyncio").exception("it %s with %d", "broke\n2026 forged", 3)
    record = json.loads(stream.getvalue())
    assert (record["logger"], record["event"], record["level"]) == ("asyncio", "library.record", "error")
    assert record["message"] == "it broke\n2026 forged with 3"
    assert "Traceback" in record["exception"]
    assert "eyJ" not in stream.getvalue()


async def test_request_lines_do_not_depend_on_the_level_and_others_do(sink: Sink) -> None:
    stream = sink("json", "ERROR")
    speak()
    structlog.get_logger("tests").warning("order.late")
    assert stream.getvalue() == ""
    structlog.get_logger("interlock.access").bind().info("request.completed", status=200)
    await asyncio.sleep(0)
    assert json.loads(stream.getvalue())["status"] == 200


async def test_request_lines_of_one_turn_are_whole_lines_without_credentials(sink: Sink) -> None:
    stream = sink("json")
    requests = structlog.get_logger("interlock.access").bind()
    requests.info("request.completed", status=200, trace_id="sk-0123456789abcdef0123")
    requests.info("request.completed", status=404, trace_id="9f")
    assert stream.getvalue() == ""
    await asyncio.sleep(0)
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["status"], line["trace_id"]) for line in told] == [(200, "[redacted]"), (404, "9f")]
    assert {(line["logger"], line["level"]) for line in told} == {("interlock.access", "info")}


HOSTILE = [
    "two\r\nlines",
    "\x1b[31mred\x1b[0m",
    '"} {"level":"error"',
    "a\u2028b\u2029c\x85d",
    "\u202egnp.exe",
    "\x00\x07\x7f",
    "x" * 1_000_000,
    "ü" * 1_000_000,
    "\ud800",
    'note" status=500 admin="yes',
]


@pytest.mark.parametrize("form", ["json", "standard", "simple"])
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_text_from_outside_stays_in_its_line(sink: Sink, form: str, text: str) -> None:
    """H4."""
    stream = sink(form)
    log = structlog.get_logger("tests")
    log.info("order.placed", user_agent=text, nested={text[:50]: [text]}, end="here")
    log.info(text)
    logging.getLogger("library").error("%s", text)
    lines = stream.getvalue().splitlines() if form == "json" else stream.getvalue().split("\n")[:-1]
    assert len(lines) == 3
    for line in lines:
        assert len(line.encode()) < MAX_LINE
        assert not CONTROL.search(line)
        if form == "json":
            assert json.loads(line)["event"]
    if form == "standard" and "status" in text:
        assert " status=500" not in re.sub(r'"(\\.|[^"\\])*"', "", lines[0])


VALUES = st.recursive(st.text(max_size=60) | st.integers(), lambda some: st.lists(some, max_size=3), max_leaves=5)


@MANY
@given(fields=st.dictionaries(st.text(max_size=20), VALUES, max_size=6))
def test_any_record_is_one_line(sink: Sink, fields: dict[str, Any]) -> None:
    """H4."""
    for form in ("json", "standard", "simple"):
        stream = sink(form)
        structlog.get_logger("tests").info("order.placed", **{"event_" + name: v for name, v in fields.items()})
        assert stream.getvalue().count("\n") == 1
        assert not CONTROL.search(stream.getvalue())


def test_a_record_that_is_too_long_is_still_an_object_and_says_that_it_was_cut(sink: Sink) -> None:
    """H4."""
    stream = sink("json")
    speak(**{f"field_{number}": "x" * 5000 for number in range(10)}, trace_id="abc")
    record = json.loads(stream.getvalue())
    assert record["cut"] is True
    assert record["trace_id"] == "abc"
    assert record["field_3"].endswith("…cut")
    stream = sink("json")
    speak(**{f"field_{number}": "x" * 5000 for number in range(1000)}, trace_id="abc")
    assert json.loads(stream.getvalue())["trace_id"] == "abc"
    assert len(stream.getvalue()) <= MAX_LINE


def test_the_end_of_a_long_traceback_is_kept(sink: Sink) -> None:
    stream = sink("json")
    try:
        raise ValueError("x" * 20_000 + " the end")
    except ValueError:
        structlog.get_logger("tests").exception("error")
    assert json.loads(stream.getvalue())["exception"].endswith("the end")


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError("no")


def test_a_thing_that_cannot_be_told_does_not_cost_the_line(sink: Sink) -> None:
    stream = sink("json")
    speak(thing=Unspeakable())
    assert json.loads(stream.getvalue())["thing"] == "<Unspeakable>"


SHAPES = {
    "web token": "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4eHh4eHh4In0.c2lnbmF0dXJlMTIz",
    "api key": "il_prod_0a1b2c3d_ZmFrZS1zZWNyZXQtZm9yLXRlc3Rz",
    "webhook secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "provider key": "sk-proj-abcdefghijklmnop1234",
    "cloud key": "AKIAIOSFODNN7EXAMPLE",
}


@pytest.mark.parametrize("kind", SHAPES)
def test_what_has_the_shape_of_a_credential_is_gone(kind: str) -> None:
    redact = Redactor().text
    secret = SHAPES[kind]
    for text in (secret, f"use {secret}, please", f"https://h/x?token={secret}&a=1", f'{{"k": "{secret}"}}'):
        assert secret not in redact(text)
        assert secret[-12:] not in redact(text)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Authorization: Bearer abcdefgh.ijk-lmn", "Authorization: [redacted]"),
        ("authorization: basic dXNlcjpwYXNz", "authorization: [redacted]"),
        ("postgresql://user:pa55@host/db", "postgresql://[redacted]@host/db"),
        ("redis://:pa55@host", "redis://[redacted]@host"),
        ("host=h password=pa55 port=1", "host=h [redacted] port=1"),
        ("GET /x?a=1&access_token=pa55&b=2", "GET /x?a=1&[redacted]&b=2"),
        ("GET /x?ticket=pa55", "GET /x?[redacted]"),
        ("-----BEGIN EC PRIVATE KEY-----\nMHc\n-----END EC PRIVATE KEY----- end", "[redacted] end"),
        ("the bearer of news", "the bearer of news"),
        ("http://host:8000/path", "http://host:8000/path"),
        ("3 tokens at 12:30", "3 tokens at 12:30"),
    ],
)
def test_shapes_inside_texts(text: str, left: str) -> None:
    assert Redactor().text(text) == left


@pytest.mark.parametrize("spelled", [KNOWN, "Tr0ub4dor%263/x%2By", "Tr0ub4dor%263%2Fx%2By", f"x{KNOWN}x"])
def test_a_known_value_is_gone_wherever_it_stands(sink: Sink, spelled: str) -> None:
    stream = sink("standard", known=[KNOWN])
    speak(note=spelled, nested={"deep": [spelled, {spelled: 1}]}, **{spelled: "a name"})
    structlog.get_logger("tests").info(f"event {spelled}")
    logging.getLogger("library").error("said %s", spelled)
    assert "Tr0ub4dor" not in stream.getvalue()
    assert stream.getvalue().count("[redacted]") >= 6


def test_a_known_value_at_the_edge_of_a_cut_leaves_no_half(sink: Sink) -> None:
    for before in range(8180, 8196):
        assert "Tr0ub" not in Redactor([KNOWN]).text("x" * before + KNOWN + "y" * 9000)


def test_a_value_learned_later_is_gone_too() -> None:
    redactor = Redactor()
    assert redactor.text("correct horse battery") == "correct horse battery"
    redactor.learn("correct horse battery", "short")
    assert redactor.text("correct horse battery, short") == "[redacted], short"


NAMES = ["password", "Authorization", "set-cookie", "x_api_key", "api-key", "refresh_token", "client_secret", "ticket"]


@pytest.mark.parametrize("name", NAMES)
def test_what_a_telling_name_holds_is_gone_but_numbers_stay(sink: Sink, name: str) -> None:
    stream = sink("json")
    speak(**{name: "hunter2", "headers": {name: ["hunter2"]}, name + "_count": 3}, tokens_used=7)
    assert "hunter2" not in stream.getvalue()
    assert json.loads(stream.getvalue())["tokens_used"] == 7
    assert json.loads(stream.getvalue())[name + "_count"] == 3


def test_a_full_file_starts_anew_and_the_last_ones_are_kept(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "log", max_bytes=1000, kept=3)
    for number in range(100):
        file.write(f"{number:03} {'x' * 95}\n")
    file.close()
    kept = [tmp_path / name for name in ("log.2", "log.1", "log")]
    assert [path.stat().st_size for path in kept] == [1000, 1000, 1000]
    assert [line[:3] for path in kept for line in path.read_text().splitlines()] == [f"{n:03}" for n in range(70, 100)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1", "log.2", "log.lock"]


def test_two_processes_share_a_file_and_lose_no_line(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from interlock.backends.telemetry.log_file import LogFile\n"
        "file = LogFile(Path(sys.argv[1]), max_bytes=2000, kept=100)\n"
        "for n in range(200): file.write(f'{sys.argv[2]} {n} ' + 'x' * 40 + '\\n')"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "log")]
    running = [subprocess.Popen([*command, name]) for name in "ab"]
    assert [process.wait(60) for process in running] == [0, 0]
    lines = [line for path in tmp_path.glob("log*") for line in path.read_text().splitlines()]
    assert {line.rsplit(" ", 1)[0] for line in lines} == {f"{name} {n}" for name in "ab" for n in range(200)}
    assert len(lines) == 400
