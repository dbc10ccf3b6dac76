"""Bad input never gets further than the door, and is never the server's fault."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import httpx2
import pytest

from interlock.core.principal import Scope
from interlock.doors.http.app.operations import OPERATIONS
from timing import answer_and_cpu_seconds

ID = "01a200d1-a110-7d1f-acf5-1ee0f56c9eda"
ROUTES = [
    (
        operation.method,
        operation.path.replace("{workflow_id}", ID).replace("{execution_id}", ID).replace("{approval_id}", ID),
    )
    for operation in OPERATIONS
    if operation.body is not None and operation.scope is not Scope.ADMIN
]
AS_JSON = {"content-type": "application/json"}
CORPUS: dict[str, bytes] = {
    "nan": b'{"inputs": NaN}',
    "infinity": b'{"inputs": Infinity}',
    "minus infinity": b'{"inputs": -Infinity}',
    "float out of range": b'{"inputs": 1e999}',
    "nul escape": b'{"name": "a\\u0000b"}',
    "raw nul": b'{"name": "a\x00b"}',
    "lone high surrogate": b'{"name": "\\ud800"}',
    "lone low surrogate": b'{"name": "\\udc00x"}',
    "duplicate keys": b'{"name": "a", "name": "b"}',
    "duplicate keys inside": b'{"inputs": {"x": {"a": 1, "a": 1}}}',
    "byte order mark": b'\xef\xbb\xbf{"name": "a"}',
    "utf-16": '{"name": "a"}'.encode("utf-16"),
    "latin-1": b'{"name": "\xe9"}',
    "depth 65": b'{"inputs":' + b"[" * 64 + b"]" * 64 + b"}",
    "depth 900": b'{"inputs":' + b"[" * 900 + b"]" * 900 + b"}",
    "depth 100,000": b"[" * 100_000 + b"]" * 100_000,
    "unclosed depth 100,000": b'{"a":' * 100_000,
    "100,000 keys": json.dumps({f"k{number}": 0 for number in range(100_000)}).encode(),
    "5,000-digit integer": b'{"inputs": ' + b"9" * 5_000 + b"}",
    "trailing text": b'{"name": "a"} {}',
    "comment": b'{"name": "a" /* b */}',
    "single quotes": b"{'name': 'a'}",
    "only white space": b"   ",
    "half a value": b'{"name": "a',
    "a list": b"[]",
    "a text": b'"name"',
    "null": b"null",
}


@pytest.mark.parametrize("name", CORPUS)
async def test_bad_json_is_refused_at_every_route_that_takes_a_body(caller: Any, name: str) -> None:
    for method, path in ROUTES:
        ask = partial(caller.http.request, method, f"/api/app{path}", content=CORPUS[name], headers=AS_JSON)
        answer, spent = await answer_and_cpu_seconds(ask, enough=0.1)
        assert answer.status_code in (400, 413), (method, path, answer.status_code, answer.text)
        body = answer.json()
        assert body["error_code"] in ("INVALID_JSON", "VALIDATION_ERROR", "PAYLOAD_TOO_LARGE"), (method, path, body)
        assert body["error"] == "validation_error"
        assert body["trace_id"] == answer.headers["x-trace-id"]
        assert spent < 0.1, (method, path, spent)


async def test_a_body_over_one_mebibyte_is_refused_by_its_declared_length(caller: Any) -> None:
    answer = await caller.http.post(
        "/api/app/workflows", content=b'"' + b"x" * 1_048_576 + b'"', headers={"content-type": "application/json"}
    )
    assert (answer.status_code, answer.json()["error_code"]) == (413, "PAYLOAD_TOO_LARGE")


async def test_a_body_without_a_length_is_cut_off_at_the_limit(caller: Any) -> None:
    taken = 0

    async def endless() -> Any:
        nonlocal taken
        for _ in range(1_000):
            taken += 65_536
            yield b"x" * 65_536

    answer = await caller.http.post(
        "/api/app/workflows", content=endless(), headers={"content-type": "application/json"}
    )
    assert (answer.status_code, answer.json()["error_code"]) == (413, "PAYLOAD_TOO_LARGE")
    assert answer.headers["connection"] == "close"
    assert taken < 2_000_000


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonx",
        "application/json; charset=latin-1",
        "application/xml",
    ],
)
async def test_a_body_that_is_not_json_is_unsupported(caller: Any, kind: str) -> None:
    answer = await caller.http.post("/api/app/workflows", content=b"{}", headers={"content-type": kind})
    assert (answer.status_code, answer.json()["error_code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=UTF-8", "application/merge-patch+json"]
)
async def test_json_is_json_under_all_its_names(caller: Any, kind: str) -> None:
    answer = await caller.http.post(
        "/api/app/workflows/validate",
        content=b'{"nodes": [{"id": "a", "type": "echo"}]}',
        headers={"content-type": kind},
    )
    assert answer.status_code == 200
    assert answer.json()["valid"] is True


async def test_a_compressed_body_is_not_inflated(caller: Any) -> None:
    answer = await caller.http.post(
        "/api/app/workflows",
        content=b"\x1f\x8b",
        headers={"content-type": "application/json", "content-encoding": "gzip"},
    )
    assert answer.status_code == 415


async def test_an_absent_body_is_an_empty_object(caller: Any) -> None:
    answer = await caller.http.post(f"/api/app/executions/{ID}/cancel")
    assert answer.status_code == 404  # read, and only then looked for


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"wait_ms": "10"}, "wait_ms"),
        ({"wait_ms": -1}, "wait_ms"),
        ({"wait_ms": 60_001}, "wait_ms"),
        ({"metadata": []}, "metadata"),
        ({"settings": {"timeout": 0}}, "settings.timeout"),
        ({"settings": {"tiemout": 5}}, "settings.tiemout"),
        ({"start_from_node": 7}, "start_from_node"),
    ],
)
async def test_a_wrong_field_is_named_with_the_reason(caller: Any, body: dict[str, Any], field: str) -> None:
    answer = await caller.post(f"/workflows/{ID}/execute", body)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "VALIDATION_ERROR")
    details = answer.json()["details"]
    assert details["field"] == field
    assert details["errors"] == [{"field": field, "reason": details["reason"]}]
    assert details["reason"]


async def test_unknown_fields_outside_settings_are_ignored(caller: Any) -> None:
    answer = await caller.post("/workflows/validate", {"nodes": [{"id": "a", "type": "echo"}], "colour": "blue"})
    assert answer.json()["valid"] is True


async def test_two_aliases_with_different_values_contradict_each_other(caller: Any) -> None:
    answer = await caller.post(f"/workflows/{ID}/execute", {"inputs": {"a": 1}, "input_data": {"a": 2}})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_REQUEST")
    same = await caller.post(f"/workflows/{ID}/execute", {"inputs": {"a": 1}, "trigger_data": {"a": 1}})
    assert same.status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=x",
        "limit=1.5",
        "offset=-1",
        "limit=1&limit=2",
        "search=%00",
        "search=%ff",
        "status=NOPE",
        "cursor=nope",
        "&".join(f"a{number}=1" for number in range(200)),
        "limit=99999999999999999999999",
    ],
)
async def test_a_bad_query_is_refused(caller: Any, query: str) -> None:
    for path in ("/workflows", "/executions"):
        answer = await caller.get(f"{path}?{query}")
        irrelevant = (path == "/workflows" and query.startswith(("status", "cursor"))) or (
            path == "/executions" and query.startswith("search=") and answer.status_code == 200
        )
        assert irrelevant or answer.status_code == 400, (path, query, answer.text)


HOSTILE = ["'; drop table interlock.workflows; --", "%' or '1'='1", "\\", "_%_", "$1", "{}", "\u202e", "x" * 200]


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_text_in_filters_finds_nothing_and_breaks_nothing(caller: Any, text: str) -> None:
    await caller.stored({"nodes": [{"id": "a", "type": "echo"}]})
    for params in ({"search": text}, {"tags": text}):
        answer = await caller.get("/workflows", params=params)
        assert (answer.status_code, answer.json()["total_count"]) == (200, 0)


@pytest.mark.parametrize("text", [*HOSTILE[:3], "null", "0", "%00", ID[:-1], "a" * 3_000])
async def test_an_id_that_cannot_be_one_is_simply_unknown(caller: Any, text: str) -> None:
    quoted = httpx2.URL(f"http://x/{text}").raw_path.decode() if "%" not in text else f"/{text}"
    for noun in ("workflows", "executions", "approvals"):
        answer = await caller.get(f"/{noun}{quoted}")
        assert answer.status_code == 404, (noun, text, answer.text)


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "Bearer a b", "bearer x.y.z", "\u00e9"])
async def test_a_credential_that_is_none_is_refused(nobody: httpx2.AsyncClient, header: str) -> None:
    answer = await nobody.get("/api/app/workflows", headers={"authorization": header.encode("latin-1")})
    assert (answer.status_code, answer.json()["error"]) == (401, "unauthorized")
    assert answer.json()["reason"] in ("invalid_token", "missing_token")


@pytest.mark.parametrize("key", ["", " ", "x" * 256, '""', "caf\u00e9"])
async def test_a_bad_idempotency_key_is_refused(caller: Any, key: str) -> None:
    answer = await caller.post(f"/workflows/{ID}/execute", headers={"idempotency-key": key.encode("latin-1")})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_REQUEST")
