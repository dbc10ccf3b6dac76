"""Every route of the table, with the credential it wants: bad JSON is refused, and a broken handler tells nothing."""

from __future__ import annotations

import dataclasses
import json
import re
from functools import partial
from typing import Any

import httpx2
import pytest
import structlog
from starlette.routing import Router
from starlette.types import ASGIApp

from figures import Note
from interlock.core.principal import Scope
from interlock.doors.http.app_factory import all_operations
from interlock.doors.http.plumbing.access_log import RequestLog
from interlock.doors.http.plumbing.context import Context
from interlock.doors.http.plumbing.operation import Call, Operation, Policy, Reply
from interlock.doors.http.plumbing.pipeline import Pipeline
from interlock.doors.http.plumbing.routing import RouteTable
from interlock.doors.http.plumbing.security import ALWAYS, Guarded
from interlock.doors.http.plumbing.trace import Traced
from timing import answer_and_cpu_seconds

ID = "01a200d1-a110-7d1f-acf5-1ee0f56c9eda"
OPERATIONS = all_operations(lambda: b"")
WITH_BODY = [operation for operation in OPERATIONS if operation.body is not None]
NO_LIMITS = {"limits": {}}
CORPUS: dict[str, bytes] = {
    "nan": b'{"inputs": NaN}',
    "infinity": b'{"inputs": Infinity}',
    "minus infinity": b'{"inputs": -Infinity}',
    "float out of range": b'{"inputs": 1e999}',
    "nul escape": b'{"name": "a\\u0000b"}',
    "raw nul": b'{"name": "a\x00b"}',
    "lone surrogate": b'{"name": "\\ud800"}',
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
    "half a value": b'{"name": "a',
    "only white space": b"   ",
    "10 MB string": b'{"name": "' + b"x" * 10_000_000 + b'"}',
}
REFUSED = {400, 413, 415, 422}


def path_of(operation: Operation) -> str:
    """The first path of an operation, with ids that do not exist."""
    return re.sub(r"\{[^}]+\}", ID, next(iter(operation.paths())))


@pytest.fixture
async def credentials(make_caller: Any) -> dict[str, str]:
    """The header that each kind of operation wants, of one fresh tenant."""
    admin = await make_caller(scopes=frozenset(Scope))
    wanted = {"client_name": "tests", "scopes": [str(scope) for scope in Scope]}
    made = await admin.post("/api-keys", wanted)
    assert made.status_code in (200, 201), made.text
    return {"user": f"Bearer {admin.token}", "key": f"Bearer {made.json()['key']}"}


def header_of(operation: Operation, credentials: dict[str, str]) -> dict[str, str]:
    kind = "key" if operation.policy is Policy.KEY else "user"
    return {} if operation.policy in (Policy.OPEN, Policy.PROOF) else {"authorization": credentials[kind]}


def client_of(app: ASGIApp) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=app, raise_app_exceptions=True), base_url="http://127.0.0.1:8000"
    )


@pytest.mark.parametrize("name", CORPUS)
async def test_bad_json_is_refused_everywhere(
    house: Any, credentials: dict[str, str], name: str, note_figures: Note
) -> None:
    """F2."""
    async with client_of(house.app()) as client:
        for operation in WITH_BODY:
            headers = {"content-type": "application/json", **header_of(operation, credentials)}
            ask = partial(client.request, operation.method, path_of(operation), content=CORPUS[name], headers=headers)
            answer, spent = await answer_and_cpu_seconds(ask, enough=0.1)
            allowed = REFUSED | {401} if operation.policy is Policy.PROOF else REFUSED | {429}
            assert answer.status_code in allowed, (operation.route, name, answer.status_code, answer.text[:300])
            assert isinstance(answer.json(), dict)
            assert spent < 0.1, (operation.route, name, spent)
    note_figures(bad_json_requests=len(WITH_BODY))


async def test_what_is_not_json_is_unsupported_everywhere(house: Any, credentials: dict[str, str]) -> None:
    async with client_of(house.app()) as client:
        for operation in WITH_BODY:
            headers = {"content-type": "text/plain", **header_of(operation, credentials)}
            answer = await client.request(operation.method, path_of(operation), content=b"{}", headers=headers)
            allowed = {415, 401, 429} if operation.policy is Policy.PROOF else {415, 429}
            assert answer.status_code in allowed, (operation.route, answer.status_code, answer.text[:300])


SECRET = "postgresql://interlock:hunter2hunter2@db/x"
BETRAYAL = re.compile(r"hunter2|RuntimeError|Traceback|/src/|\.py|insert into|KeyError|asyncpg", re.IGNORECASE)


async def broken(call: Call[Any, Any]) -> Reply:
    raise RuntimeError(f"insert into interlock.keys failed at {SECRET} in /src/interlock/x.py")


def broken_app(context: Context) -> ASGIApp:
    """The whole server with handlers that fail in a way nobody foresaw."""
    operations = [dataclasses.replace(one, handler=broken, body=None, query=None) for one in OPERATIONS]
    pipeline = Pipeline(context)
    router = Router([RouteTable(operations, pipeline)], redirect_slashes=False)
    log = RequestLog(structlog.get_logger("interlock.access"), context.telemetry, is_on=False)
    return Traced(Guarded(router, context.settings, pipeline), context.clock, context.ids, log, ALWAYS)


async def test_an_unforeseen_error_shows_its_code_and_trace_id_and_nothing_else(
    house: Any, credentials: dict[str, str]
) -> None:
    """H6: the traceback is in the log once, with the same trace id."""
    reached = 0
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logged:
        async with client_of(broken_app(house.context())) as client:
            for operation in OPERATIONS:
                headers = header_of(operation, credentials)
                answer = await client.request(operation.method, path_of(operation), headers=headers)
                if operation.policy is Policy.PROOF and answer.status_code in (401, 404):
                    continue
                assert answer.status_code == 500, (operation.route, answer.status_code, answer.text[:300])
                reached += 1
                assert not BETRAYAL.search(answer.text), answer.text
                assert not BETRAYAL.search(str(answer.headers))
                told = [entry for entry in logged if entry.get("trace_id") == answer.headers["x-trace-id"]]
                assert [entry["event"] for entry in told] == ["error"]
                assert told[0]["exc_info"] is True
    assert reached >= len(OPERATIONS) - sum(one.policy is Policy.PROOF for one in OPERATIONS)
