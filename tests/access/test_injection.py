"""Text that means something to a database, a shell or a browser means nothing here, wherever it stands in a request."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from access.route_probes import BODIES, OF_NOBODY, OPERATIONS, PARAMETER, Probe, body_of, filled, unknown
from access.transcript import Transcript
from figures import Note
from interlock.doors.http.plumbing.operation import Operation, Policy
from tenants_house import at_rest, rows_of

CORPUS = (
    "' or '1'='1' --",
    "'; update interlock.workflows set name = 'gone'; select pg_sleep(5) --",
    "$1); drop schema interlock cascade; --",
    "x' union select digest, tenant_id from interlock.api_keys --",
    "%' escape '' or 1=1 or 'x' like '%_",
    '$.* ? (@.tenant_id like_regex ".*") \\u0027',
    '{"$ne": null, "tenant_id": {"$gt": ""}}',
    "tenant_id=eq.other,and(user_id.neq.)",
    "*)(uid=*))(|(uid=*",
    "\\'; \\x27 or 1=1; EXECUTE 'select 1'",
    "../../../../etc/passwd",
    "{{7*7}}${7*7}<script>alert(1)</script>",
    "$(touch /tmp/interlock-was-here) `id` | cat",
    "interlock:limit:{x}\\r\\nFLUSHALL",
)
BETRAYAL = re.compile(
    r"syntax error|unterminated|SQLSTATE|asyncpg|PostgresError|pg_catalog|relation \"|column \"|"
    r"operator does not exist|Traceback|\.py\b|current_setting",
    re.IGNORECASE,
)
CREDENTIALS = ("authorization", "x-api-key", "x-tenant-id", "idempotency-key")
"""Headers that end a request by themselves."""
HEADERS = (
    "x-api-key-id",
    "x-api-signature",
    "traceparent",
    "x-request-id",
    "x-trace-id",
    "last-event-id",
    "if-match",
    "if-none-match",
    "x-callback-token",
    "webhook-id",
    "webhook-signature",
    "prefer",
    "user-agent",
    "cookie",
)
QUICK = 1
"""How many texts of the corpus each place gets in the suite; at length it gets them all."""


def texts_of(struct: type[Any]) -> list[str]:
    """The fields of a body that a text may stand in."""
    named = msgspec.structs.fields(struct)
    return [info.encode_name for info in named if "str" in str(info.type) or info.type is Any]


def probes(own: dict[str, str], texts: list[str], number: int) -> Iterator[Probe]:
    """Each place of an operation with some of the texts, another some for each operation."""
    for shift, operation in enumerate(OPERATIONS):
        chosen = [texts[(shift + turn) % len(texts)] for turn in range(number)]
        for text in chosen:
            yield from of_operation(operation, own, text)


def of_operation(operation: Operation, own: dict[str, str], text: str) -> Iterator[Probe]:
    """One operation with a text in its path, its query, each text of its body, and its headers."""
    nobody = unknown(own) | {"model": "x"}
    path = filled(operation.paths()[0], nobody)
    plain = Probe(operation, "plain", path, (), body_of(operation))
    for name in PARAMETER.findall(operation.path) if operation.route not in OF_NOBODY else ():
        named = filled(operation.paths()[0], nobody | {name: quote(text, safe="")})
        yield replace(plain, place="path", path=named)
    if operation.query is not None:
        yield replace(plain, place="query", query=dict.fromkeys(texts_of(operation.query), text))
        yield replace(plain, place="query", query={text: text})
    if operation.body is not None:
        for name in texts_of(operation.body):
            yield replace(plain, place="body", body={**BODIES[operation.body.__name__], name: text})
        yield replace(plain, place="body", body={**BODIES[operation.body.__name__], text: {text: [text]}})
    for name in CREDENTIALS:
        yield replace(plain, place=f"header {name}", headers={name: text})
    yield replace(plain, place="headers", headers=dict.fromkeys(HEADERS, text))


@pytest.mark.timeout(600)
async def test_hostile_text_finds_nothing_and_breaks_nothing(
    tenants: Any, database: Any, at_length: bool, note_figures: Note
) -> None:
    """F6."""
    before = await at_rest(database.superuser_url, tenants.b.tenant_id)
    transcript = Transcript(tenants.a)
    wrong = []
    for probe in probes(tenants.a.ids, list(CORPUS), len(CORPUS) if at_length else QUICK):
        status, text = await transcript.ask(probe)
        if status >= 500 or BETRAYAL.search(text) or tenants.b.word in text:
            wrong.append((probe.method, probe.path, probe.place, probe.query, probe.headers, status, text[:300]))
        elif probe.place == "header authorization" and probe.operation.policy not in (Policy.OPEN,) and status != 401:
            wrong.append((probe.method, probe.path, probe.place, probe.headers, status, text[:300]))
    assert not wrong, wrong[:10]
    assert await rows_of(database.superuser_url, tenants.b.tenant_id) == before
    note_figures(injection_requests=transcript.count, injection_texts=len(CORPUS), injection_failures=len(wrong))
