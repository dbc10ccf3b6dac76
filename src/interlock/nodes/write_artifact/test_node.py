from __future__ import annotations

import hashlib
from typing import Any

import pytest

from interlock.nodes.testing import KeptServices, run_node
from interlock.nodes.write_artifact.node import NODE
from interlock.ports.node import Done, NodeFailed


def _write(**parameters: Any) -> tuple[Done, KeptServices]:
    services = KeptServices()
    outcome = run_node(NODE, parameters, services)
    assert isinstance(outcome, Done)
    return outcome, services


def test_a_text_is_stored_and_its_reference_given() -> None:
    outcome, services = _write(name="report.md", content="# Ä\n")
    content = "# Ä\n".encode()
    assert services.artifacts == {"report.md": content}
    assert outcome.output == {
        "name": "report.md",
        "size": 5,
        "sha256": hashlib.sha256(content).hexdigest(),
        "content_type": "text/markdown; charset=utf-8",
    }
    assert [ref.name for ref in outcome.artifacts] == ["report.md"]


def test_base64_is_stored_as_its_bytes() -> None:
    _, services = _write(name="dot.png", content="iVBO\nRw==", encoding="base64")
    assert services.artifacts == {"dot.png": b"\x89PNG"}


def test_data_is_stored_as_indented_json() -> None:
    _, services = _write(name="a.json", data={"ä": [1]})
    assert services.artifacts == {"a.json": '{\n  "ä": [\n    1\n  ]\n}\n'.encode()}


def test_an_empty_text_is_a_file_too() -> None:
    _, services = _write(name="empty.txt", content="", data={"not": "this"})
    assert services.artifacts == {"empty.txt": b""}


@pytest.mark.parametrize(
    ("parameters", "content_type"),
    [
        ({"name": "a.CSV", "content": ""}, "text/csv; charset=utf-8"),
        ({"name": "chart.svg", "content": "<svg/>"}, "image/svg+xml"),
        ({"name": "noending", "content": "a"}, "text/plain; charset=utf-8"),
        ({"name": "noending", "data": 1}, "application/json"),
        ({"name": "noending", "content": "YQ==", "encoding": "base64"}, "application/octet-stream"),
        ({"name": "a.csv", "content": "", "content_type": "text/x-y; charset=latin-1"}, "text/x-y; charset=latin-1"),
    ],
)
def test_the_content_type_is_given_or_told_by_the_name(parameters: dict[str, Any], content_type: str) -> None:
    outcome, _ = _write(**parameters)
    assert outcome.output["content_type"] == content_type


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"name": "a", "content": "not base64!", "encoding": "base64"}, "content"),
        ({"name": "a", "content": {"a": 1}}, "content"),
        ({"name": "a"}, "content"),
        ({"name": 7, "content": ""}, "name"),
        ({"name": "a", "content": "", "content_type": "text/html\r\nX: y"}, "content_type"),
        ({"name": "a", "content": "", "content_type": "html"}, "content_type"),
    ],
)
def test_parameters_that_turn_out_wrong_at_run_time_are_named(parameters: dict[str, Any], named: str) -> None:
    with pytest.raises(NodeFailed) as caught:
        _write(**parameters)
    assert caught.value.code == "PARAMETER_INVALID"
    assert caught.value.message.startswith(f"The parameter {named}")
