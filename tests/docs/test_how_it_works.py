"""The page names a proof for every failure: each one exists, and what no other test proves is proved here."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from served import start_server, stop_server

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "how-it-works.md"
ROWS = [line.strip("|").split("|") for line in PAGE.read_text().splitlines() if line.startswith("| **")]
Json = dict[str, Any]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: re.sub(r"\W+", " ", row[0]).strip())
def test_a_failure_has_proofs_that_exist(row: list[str]) -> None:
    files = [
        ((PAGE.parent / target).resolve(), named) for target, named in re.findall(r"\]\(([^)]+)\)([^;\[]*)", row[2])
    ]
    assert files
    for file, named in files:
        code = file.read_text()
        wanted = re.findall(r"`(test_\w+)`", named)
        assert wanted or "/crash/scenarios/" in str(file)
        assert [name for name in wanted if f"def {name}(" not in code] == []


def test_no_failure_is_named_twice() -> None:
    assert len(ROWS) == len({row[0] for row in ROWS}) >= 12


class Caller:
    """Calls the app door of a server."""

    def __init__(self, url: str, token: str) -> None:
        self._http = httpx2.Client(base_url=f"{url}/api/app", headers={"authorization": f"Bearer {token}"}, timeout=30)

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def __call__(self, method: str, path: str, body: Json | None = None) -> Json:
        answer = self._http.request(method, path, json=body)
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found


def _asking(words: str) -> Json:
    """A definition that asks, and then says its words."""
    return {
        "name": "words",
        "nodes": [
            {"id": "ask", "type": "approval", "parameters": {"title": "May I?"}},
            {"id": "say", "type": "transform", "parameters": {"mapping": {"said": words}}},
        ],
        "connections": [{"from_node": "ask", "output_key": "confirmed", "to_node": "say"}],
    }


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A place for a server that is started twice; short, because sockets lie in it."""
    with tempfile.TemporaryDirectory(prefix="interlock-words-") as folder:
        yield Path(folder)


def _started(call: Caller, workflow_id: str) -> str:
    started = call("POST", f"/workflows/{workflow_id}/execute", {"wait_ms": 30_000})
    assert started["status"] == "WAITING"
    return str(started["execution_id"])


def _said(call: Caller, execution_id: str) -> Json:
    """What an execution says once it is approved, and the version it says it by."""
    approval = call("GET", f"/approvals?execution_id={execution_id}")["approvals"][0]
    call("POST", f"/approvals/{approval['approval_id']}/decide", {"decision": "approve"})
    standing = call("GET", f"/executions/{execution_id}?wait_ms=30000")
    assert standing["status"] == "SUCCESS"
    return {"said": standing["result"]["said"], "version": standing["workflow_version"]}


def test_an_execution_ends_by_the_definition_it_began_with(data_dir: Path) -> None:
    process, url, token = start_server(data_dir)
    with Caller(url, token) as call:
        workflow_id = call("POST", "/workflows", _asking("first"))["workflow_id"]
        before = _started(call, workflow_id)
        assert call("PUT", f"/workflows/{workflow_id}", _asking("second"))["version"] == 2
        after = _started(call, workflow_id)
    assert stop_server(process) == 0
    process, url, token = start_server(data_dir)  # another process, which has nothing of them in memory
    with Caller(url, token) as call:
        assert _said(call, before) == {"said": "first", "version": 1}
        assert _said(call, after) == {"said": "second", "version": 2}
    assert stop_server(process) == 0
