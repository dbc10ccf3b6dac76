"""Every example is a clean definition and does on a running server what ``examples/expectations.yaml`` says."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol
from xml.etree import ElementTree

import httpx2
import pytest
from interlock_examples import workflow_input, workflow_source
from interlock_examples.functions import check_airports, compose_report, flag_airports, group_airports, read_airports
from interlock_examples.report import write_report

from interlock.backends.schema.jsonschema_rs import JsonSchemas
from interlock.core.definition import validate_definition
from interlock.kit import strict_yaml
from interlock.nodes.registry import load

Json = dict[str, Any]

EXAMPLES = Path(__file__).parents[2] / "examples"
MAIN = "src/interlock_examples/workflow.yaml"
FILES = sorted(str(path.relative_to(EXAMPLES)) for path in EXAMPLES.glob("f*/*"))  # features and flows
EXPECTED = strict_yaml.load((EXAMPLES / "expectations.yaml").read_text())
CASES = [
    pytest.param(path, case, id=f"{path} {case.get('title', '')}".strip())
    for path in EXPECTED
    for case in EXPECTED[path]
]
STATUS = {"succeeded": "SUCCESS", "failed": "ERROR"}
DEADLINE = 60.0  # seconds
MAX_FRAME = 16 * 1_048_576  # bytes


class Server(Protocol):
    """A running Interlock."""

    @property
    def url(self) -> str: ...
    @property
    def token(self) -> str: ...


class Client:
    """Runs workflows through the app door."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self._http = http

    async def create(self, source: Json) -> str:
        workflow = await self._call("POST", "/workflows", source)
        return str(workflow["workflow_id"])

    async def start(self, source: Json, given: Any) -> str:
        workflow_id = await self.create(source)
        started = await self._call("POST", f"/workflows/{workflow_id}/execute", {"inputs": given})
        return str(started["execution_id"])

    async def answer(self, execution_id: str, answer: Json) -> None:
        """Send what a person or another system would: at once if ``early``, else when the execution rests."""
        approvals = [] if answer.get("early") else (await self._rested(execution_id))["pending_approvals"]
        if "signal" in answer:
            body = {"name": answer["signal"], "payload": answer.get("payload")}
            await self._call("POST", f"/executions/{execution_id}/signal", body)
        else:
            body = {"decision": answer["decide"], "reason": answer.get("reason")}
            await self._call("POST", f"/approvals/{approvals[0]['approval_id']}/decide", body)

    async def _rested(self, execution_id: str) -> Json:
        standing = await self._call("GET", f"/executions/{execution_id}?wait_ms=30000")
        assert standing["status"] == "WAITING", standing
        return standing

    async def ended(self, execution_id: str) -> Json:
        """Follow the execution until its last event, and read what became of it."""
        path = f"/api/app/executions/{execution_id}/stream"
        async with asyncio.timeout(DEADLINE), self._http.stream("GET", path) as answer:
            async for event in httpx2.EventSource(answer, max_event_size=MAX_FRAME):
                if event.data and json.loads(event.data)["is_final"]:  # the first ones only say how to reconnect
                    break
        return await self._call("GET", f"/executions/{execution_id}")

    async def _call(self, method: str, path: str, body: Json | None = None) -> Json:
        answer = await self._http.request(method, f"/api/app{path}", json=body)
        assert answer.status_code == 200, f"{method} {path}: {answer.status_code} {answer.text}"
        found: Json = answer.json()
        return found


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    headers = {"authorization": f"Bearer {server.token}"}
    async with httpx2.AsyncClient(base_url=server.url, headers=headers, timeout=DEADLINE) as http:
        yield Client(http)


def _source(path: str) -> Json:
    source: Json = strict_yaml.load((EXAMPLES / path).read_text())
    return source


def _statuses(standing: Json) -> dict[str, str]:
    return {node["node_id"]: node["status"] for node in standing["node_executions"]}


def _artifacts(standing: Json) -> dict[str, str]:
    """Name and SHA-256 of the files that nodes have written."""
    outputs = [node["output_data"] for node in standing["node_executions"]]
    files = [found for found in outputs if isinstance(found, dict) and {"name", "sha256"} <= found.keys()]
    return {found["name"]: found["sha256"] for found in files}


def test_every_example_has_an_expectation() -> None:
    assert sorted(EXPECTED) == sorted([*FILES, MAIN])


def test_the_readme_lists_every_feature_with_an_input_that_is_tested() -> None:
    readme = (EXAMPLES / "README.md").read_text()
    listed = dict(re.findall(r"^\| \[.+?\]\((features/.+?)\) .* `(\{.*?\})` \|$", readme, re.MULTILINE))
    helping = {other for cases in EXPECTED.values() for case in cases for other in case.get("needs", [])}
    assert sorted(listed) == sorted({path for path in FILES if path.startswith("features/")} - helping)
    for path, given in listed.items():
        assert json.loads(given) in [case["input"] for case in EXPECTED[path]]


@pytest.mark.parametrize("path", [MAIN, *FILES])
def test_an_example_is_valid_and_says_at_its_top_what_it_shows(path: str) -> None:
    registry = load()
    checked = validate_definition(
        _source(path), registry.types, check_parameters=JsonSchemas(registry.types).check_parameters
    )
    assert (checked.errors, checked.warnings) == ((), ())
    assert (EXAMPLES / path).read_text().startswith("# ")
    assert checked.heading.name == ("airports" if path == MAIN else Path(path).stem)


@pytest.mark.parametrize(("path", "case"), CASES)
async def test_an_example_does_what_is_expected(client: Client, path: str, case: Json) -> None:
    for other in case.get("needs", []):
        await client.create(_source(other))
    execution_id = await client.start(_source(path), case["input"])
    for answer in case.get("then", []):
        await client.answer(execution_id, answer)
    standing = await client.ended(execution_id)
    assert standing["status"] == STATUS[case.get("status", "succeeded")], standing["error"]
    assert standing["result"] == case.get("output")
    assert (standing["error"] or {}).get("code") == case.get("error")
    assert _statuses(standing).items() >= case.get("nodes", {}).items()
    assert sorted(_artifacts(standing)) == case.get("artifacts", [])


async def test_the_report_of_an_execution_is_what_its_functions_make_of_the_data(client: Client) -> None:
    execution_id = await client.start(workflow_source(), workflow_input())
    await client.answer(execution_id, {"decide": "approve", "reason": "demo"})
    standing = await client.ended(execution_id)
    made = _compose({"reason": "demo"})
    assert _artifacts(standing) == {"report.md": _sha256(made["report"]), "chart.svg": _sha256(made["chart"])}


def test_the_packaged_workflow_is_the_file_beside_the_functions() -> None:
    assert workflow_source() == _source(MAIN)
    assert workflow_input() == EXPECTED[MAIN][0]["input"]


def test_the_data_is_the_file_that_its_source_note_describes() -> None:
    data = EXAMPLES / "src/interlock_examples/data"
    note = (data / "SOURCE.md").read_text()
    read = read_airports({})
    assert read["count"] == len(read["records"]) == 3376
    assert f"`{read['sha256']}`" in note
    assert read["sha256"] == hashlib.sha256((data / "airports.csv").read_bytes()).hexdigest()


def test_the_known_mistakes_of_the_data_are_found() -> None:
    _, flagged = _examine()
    reasons = {each["code"]: each["reasons"] for each in flagged["flagged"]}
    assert reasons["GUM"] == ["wrong hemisphere"]
    assert reasons["ROP"] == ["not in the United States", "state missing"]
    assert reasons["HXD"] == ["listed twice"]
    assert reasons["HHH"] == ["state missing", "listed twice"]
    assert "SEA" not in reasons


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"iata": "a!"}, "malformed code"),
        ({"name": " "}, "name missing"),
        ({"state": "ZZ"}, "unknown state"),
        ({"state": ""}, "state missing"),
        ({"country": "Palau"}, "not in the United States"),
        ({"latitude": "91"}, "coordinates unreadable"),
        ({"longitude": "nan"}, "coordinates unreadable"),
        ({"longitude": "west"}, "coordinates unreadable"),
    ],
)
def test_a_record_that_breaks_a_rule_says_which(change: Json, reason: str) -> None:
    sound = {"iata": "SEA", "name": "Seattle", "city": "Seattle", "state": "WA", "country": "USA"}
    place = {"latitude": "47.4", "longitude": "-122.3"}
    checked = check_airports([{**sound, **place}, {**sound, **place, **change}])
    assert checked["checked"] == 2
    assert "problems" not in checked["airports"][0]
    assert checked["airports"][1]["problems"] == [reason]


def test_records_without_readable_places_can_still_be_grouped_and_flagged() -> None:
    lost = {"iata": "XXX", "name": "Nowhere", "state": "WA", "country": "USA", "latitude": "", "longitude": ""}
    batches = [check_airports([lost])]
    groups = group_airports(batches)["groups"]
    assert groups == []
    assert flag_airports({"batches": batches, "groups": groups})["by_reason"] == {"coordinates unreadable": 1}


def test_the_chart_is_a_picture_with_a_bar_for_each_of_the_largest_states() -> None:
    root = ElementTree.fromstring(_compose(None)["chart"])
    svg = "{http://www.w3.org/2000/svg}"
    texts = [text.text for text in root.iter(f"{svg}text")]
    assert root.tag == f"{svg}svg"
    assert {"AK", "263", "TX", "209", "airports", "state"} <= set(texts)
    assert len([bar for bar in root.iter(f"{svg}rect") if bar.get("class") == "sound"]) == 20 + 1  # and the legend


def test_every_row_of_a_table_has_the_cells_of_its_heading() -> None:
    report = _compose({"reason": "a | b\n<b>c</b>"})["report"]
    assert r"a \| b \<b\>c\</b\>" in report
    tables = [part.splitlines() for part in report.split("\n\n") if part.startswith("|")]
    assert [len(table) - 2 for table in tables] == [5, 33, 54]
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1


def test_a_report_without_a_question_says_so() -> None:
    summary, flagged = _examine()
    source = {"name": "airports.csv", "sha256": "0" * 64}
    assert "nobody had to be asked" in write_report(source, summary, flagged, None)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _examine() -> tuple[Json, Json]:
    """What the nodes group and flag make of all records."""
    records = read_airports({})["records"]
    batches = [check_airports(records[start : start + 250]) for start in range(0, len(records), 250)]
    summary = group_airports(batches)
    return summary, flag_airports({"batches": batches, "groups": summary["groups"]})


def _compose(decision: Json | None) -> Json:
    summary, flagged = _examine()
    source = {"name": "airports.csv", "sha256": read_airports({})["sha256"]}
    return compose_report({"source": source, "summary": summary, "flagged": flagged, "decision": decision})
