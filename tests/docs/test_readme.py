"""What the README tells a newcomer is true: its workflow, its calls, its commands, its outputs and all links."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx2
import pytest
from typer.testing import CliRunner

from interlock.backends.schema.jsonschema_rs import JsonSchemas
from interlock.bootstrap.main import Programs
from interlock.core.definition import validate_definition
from interlock.doors.cli.app import build
from interlock.kit import strict_yaml
from interlock.nodes import load
from served import RunningServer, environment

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "examples" / "README.md"])
HELLO = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)[0]
INTERLOCK = [sys.executable, "-m", "interlock"]
SECONDS = 60.0
Json = dict[str, Any]

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


# Its length and picture


def test_it_is_short_and_so_is_the_first_workflow() -> None:
    assert len(README.splitlines()) <= 150
    assert len(HELLO.splitlines()) <= 20


def test_the_picture_is_well_formed_says_what_it_shows_and_knows_the_dark() -> None:
    text = (ROOT / "docs" / "picture.svg").read_text(encoding="utf-8")
    picture = ElementTree.fromstring(text)
    parts = {found.tag.rpartition("}")[2]: found.text or "" for found in picture}
    assert parts["title"]
    assert len(parts["desc"]) > 100
    light, dark = parts["style"].split("@media (prefers-color-scheme: dark)")
    assert set(re.findall(r"\.([\w-]+) \{[^}]*(?:fill|stroke): #", light)) == set(re.findall(r"\.([\w-]+) \{", dark))
    assert re.findall(r"(?:href|src)=", text) == [], "nothing is fetched"


# Its links and commands


def _slug(heading: str) -> str:
    """The anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def _prose(page: Path) -> str:
    return re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)


@each_page
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", _prose(page))):
        target, _, anchor = link.partition("#")
        if target.startswith(("http://", "https://")):
            continue
        place = (page.parent / target).resolve() if target else page
        anchors = re.findall(r"^#+ (.*)$", _prose(place), re.MULTILINE) if anchor and place.suffix == ".md" else []
        if not place.exists() or (anchor and anchor not in map(_slug, anchors)):
            broken.append(link)
    assert broken == []


def _codes(page: Path) -> list[str]:
    """What stands as code on a page: lines of shell blocks, indented blocks and code spans."""
    text = page.read_text(encoding="utf-8")
    blocks = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    indented = re.findall(r"^    (.*)$", _prose(page), re.MULTILINE)
    return [*blocks, *indented, *re.findall(r"`([^`\n]+)`", _prose(page))]


@cache
def _help(*command: str) -> str:
    answer = CliRunner().invoke(build(Programs()), [*command, "--help"], terminal_width=100)
    assert answer.exit_code == 0, answer.output
    return answer.stdout


@each_page
def test_every_command_that_is_named_exists_with_its_options(page: Path) -> None:
    known = set(re.findall(r"^  (\w+)  ", _help(), re.MULTILINE))
    assert {"run", "up", "serve"} <= known
    for code in _codes(page):
        for command, rest in re.findall(r"(?:^|[(/])interlock ([a-z]+)([^#|)]*)", code):
            assert command in known, code
            first = rest.split()[:1]
            is_group = "COMMAND [ARGS]" in _help(command)
            for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", re.sub(r"'[^']*'", "", rest)):
                assert option in _help(command, *(first if is_group else ())), code


@each_page
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {target for code in _codes(page) for target in re.findall(r"^make ([a-z][a-z-]*)", code)}
    assert named - targets == set()


# Its outputs


def _plain(text: str) -> str:
    """Without what differs from one execution to the next: times, ids, addresses and colours."""
    text = re.sub(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|[0-9a-f]{8}-…", "ID", text)
    text = re.sub(r"\d\d:\d\d:\d\d\.\d{3}", "TIME", text)
    return re.sub(r"127\.0\.0\.1:\d+", "ADDRESS", re.sub(r"\b[\d.]+ m?s\b", "TIME", text))


def _shown(beginning: str) -> list[str]:
    """The lines of the output on the page that begins so."""
    blocks = re.findall(r"```\n(.*?)```", re.sub(r"```\w+\n.*?```", "", README, flags=re.DOTALL), re.DOTALL)
    found = [block for block in blocks if re.match(beginning, _plain(block))]
    assert len(found) == 1, f"{len(found)} outputs begin with {beginning!r}"
    return [line for line in found[0].splitlines() if line != "…"]


def _assert_shows(output: str, lines: list[str]) -> None:
    """The lines appear in the output in this order; … stands for anything."""
    rest = _plain(output)
    for line in lines:
        found = re.search("^" + re.escape(_plain(line)).replace("…", ".*") + "$", rest, re.MULTILINE)
        assert found, f"{line!r} is not in what was left of the output:\n{rest}"
        rest = rest[found.end() :]


def test_the_demo_prints_what_the_page_shows(tmp_path: Path) -> None:
    done = subprocess.run(
        [*INTERLOCK, "demo"],
        check=False,
        cwd=tmp_path,
        env=environment(COLUMNS="200"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    _assert_shows(done.stdout, _shown("Started execution ID of airports"))


# The first workflow


def test_the_first_workflow_is_valid() -> None:
    types = load().types
    verdict = validate_definition(strict_yaml.load(HELLO), types, check_parameters=JsonSchemas(types).check_parameters)
    assert (verdict.errors, verdict.warnings) == ((), ())


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the workflow of the page in it, as a newcomer would have."""
    (tmp_path / "hello.yaml").write_text(HELLO, encoding="utf-8")
    return tmp_path


def _interlock(place: Path, server: RunningServer, line: str) -> subprocess.Popen[str]:
    """A command of the page."""
    name, *arguments = shlex.split(line)
    assert name == "interlock"
    return subprocess.Popen(
        [*INTERLOCK, *arguments],
        cwd=place,
        env=environment(COLUMNS="200", INTERLOCK_URL=server.url, INTERLOCK_DATA_DIR=str(server.data_dir)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _finished(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, output
    return output


def test_the_first_workflow_prints_what_the_page_shows(server: RunningServer, place: Path) -> None:
    line = next(code for code in _codes(ROOT / "README.md") if code.startswith("interlock run hello.yaml"))
    running = _interlock(place, server, line)
    assert running.stdout is not None
    output = ""
    while "Answer with" not in output:
        read = running.stdout.readline()
        assert read, f"it ended before it asked:\n{output}"
        output += read
    approval = re.findall(r"`(interlock approve \S+)`", output)[0]
    _finished(_interlock(place, server, f"{approval} --reason 'nice words'"))
    output += _finished(running)
    _assert_shows(output, _shown("TIME  words completed"))


def test_the_letter_is_fetched_as_the_page_says(server: RunningServer, place: Path) -> None:
    started = _finished(_interlock(place, server, 'interlock run hello.yaml --input \'{"name": "Eve"}\' --json'))
    execution_id = json.loads(started)["execution_id"]
    with _caller(server) as http:
        http.get(f"/api/app/executions/{execution_id}?wait_ms=30000")
        _finished(_interlock(place, server, f"interlock approve {execution_id}"))
        http.get(f"/api/app/executions/{execution_id}?wait_ms=30000")
    line = next(code for code in _codes(ROOT / "README.md") if code.startswith("interlock artifacts"))
    _finished(_interlock(place, server, line.replace("ID", execution_id)))
    assert (place / "hello.txt").read_text() == "Hello Eve, welcome aboard!"


# The same over HTTP


def _caller(server: RunningServer) -> httpx2.Client:
    headers = {"Authorization": f"Bearer {server.token}", "Content-Type": "application/json"}
    return httpx2.Client(base_url=server.url, headers=headers, timeout=SECONDS)


def _calls() -> Iterator[tuple[list[str], tuple[str, str] | None]]:
    """Each call of the page: its arguments, and the variable and field that its comment wants kept."""
    block = next(text for text in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) if "api()" in text)
    for line in block.replace("\\\n", " ").splitlines():
        if line.startswith("api "):
            kept = re.search(r"# (\w)=(\w+)$", line)
            yield shlex.split(line, comments=True)[1:], (kept[1], kept[2]) if kept else None


def _read_call(arguments: list[str], values: dict[str, str]) -> tuple[str, dict[str, str], str | None]:
    """Path, headers and body of a call written for curl."""
    path, headers, body = "", {}, None
    words = iter(arguments)
    for word in words:
        if word == "-H":
            name, _, value = next(words).partition(": ")
            headers[name] = value
        elif word == "-d":
            body = next(words)
        elif word != "-N":
            path = re.sub(r"\$(\w)", lambda found: values[found[1]], word)
    return path, headers, body


def _find(answer: Any, field: str) -> str:
    """The field of an answer, or of the first thing it lists."""
    if field in answer:
        return str(answer[field])
    return str(next(value for value in answer.values() if isinstance(value, list))[0][field])


def test_the_calls_of_the_page_do_the_same_over_http(server: RunningServer) -> None:
    values = {"U": "/api/app"}
    answers: list[str] = []
    with _caller(server) as http:
        stored = http.post("/api/app/workflows", json=strict_yaml.load(HELLO))
        assert stored.status_code == 200
        for arguments, kept in _calls():
            path, headers, body = _read_call(arguments, values)
            answer = http.request("POST" if body else "GET", path, headers=headers, content=body)
            assert answer.status_code == 200, answer.text
            answers.append(answer.text)
            if kept is not None:
                values[kept[0]] = _find(answer.json(), kept[1])
    assert len(answers) == 6
    *_, stream, standing = answers
    frames = [json.loads(line.removeprefix("data: ")) for line in stream.splitlines() if line.startswith("data: ")]
    numbers = [int(number) for number in re.findall(r"^id: (\d+)$", stream, re.MULTILINE)]
    assert numbers == list(range(1, len(frames) + 1))
    assert [frame["is_final"] for frame in frames] == [False] * (len(frames) - 1) + [True]
    assert json.loads(standing)["status"] == "SUCCESS"
    assert json.loads(standing)["result"]["name"] == "hello.txt"
