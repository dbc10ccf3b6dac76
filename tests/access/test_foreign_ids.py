"""What belongs to another tenant is like what belongs to nobody: the same answers, no row changed, not a word of it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable
from statistics import median
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from access.route_probes import (
    BODIES,
    OF_NOBODY,
    OPERATIONS,
    PARAMETER,
    Probe,
    in_fields,
    in_headers,
    in_paths,
    unknown,
)
from access.transcript import Transcript
from figures import Note
from interlock.doors.http.plumbing.operation import Policy
from interlock.kit.ids import RandomIds
from serving import Serving
from tenants_house import IDEMPOTENCY_KEY, SCRATCH, Owner, at_rest, rows_of, start_of

BOARD = "/api/state/{session_id}"
WRITE, TENANT = f"PUT {BOARD}/{{key}}", "PUT /api/app/tenants/{tenant}"
EMPTY = (
    "GET /get_workflow_tasks/{workflow_id}",
    "GET /api/workflow/{session_id}/events",
    f"GET {BOARD}",
    f"GET {BOARD}/{{key}}",
)
ANSWERS = {**dict.fromkeys(EMPTY, 200), WRITE: 200, TENANT: 403}
"""What is not 404: nothing is in it, or one may begin something of that name, or only the operator may do it at all."""

CHANGING = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}|\d{4}-\d\d-\d\dT[\d:.]+Z|"
    r"whsec_[\w+/=]+|il_\w+|nobody-\w+|[\w-]{43}(?=\")|(?<=\"expires_at\":)\d+|(?<=last4\":\")\w+"
)


def alike(text: str, ids: Iterable[str]) -> str:
    """An answer without the ids that were asked for and without what is new in every answer."""
    for told in sorted(ids, key=len, reverse=True):
        text = text.replace(told, "ID")
    return CHANGING.sub("ID", text)


def pairs(a: Owner, b: Owner) -> list[tuple[Probe, Probe]]:
    """Each request with what is another's, beside the same one with what is nobody's."""
    nobody = unknown(b.ids)
    foreign = [*in_paths(b.ids), *in_fields(a.ids, b.ids)]
    free = [*in_paths(nobody), *in_fields(a.ids, nobody)]
    return list(zip(foreign, free, strict=True))


def test_every_id_of_every_route_is_one_that_both_tenants_have(tenants: Any) -> None:
    """A new kind of thing must be made in the house of tenants, and a new body be written down, to be probed."""
    named = {name for one in OPERATIONS if one.route not in OF_NOBODY for name in PARAMETER.findall(one.path)}
    assert named <= tenants.b.ids.keys()
    assert {one.body.__name__ for one in OPERATIONS if one.body is not None} == BODIES.keys()


async def test_what_is_anothers_is_like_what_is_nobodys(tenants: Any, database: Any, note_figures: Note) -> None:
    """G5."""
    a, b = tenants.a, tenants.b
    transcript = Transcript(a)
    before = await at_rest(database.superuser_url, b.tenant_id)
    wrong = []
    for foreign, free in pairs(a, b):
        label = f"{foreign.method} {foreign.operation.route}"
        status, text = await transcript.ask(foreign)
        other, told = await transcript.ask(free)
        text, told = alike(text, foreign.ids), alike(told, free.ids)
        if (status, text) != (other, told):
            wrong.append((label, foreign.place, status, other, text[:300], told[:300]))
        if foreign.place == "path" and foreign.operation.policy not in (Policy.OPEN, Policy.PROOF):
            if status != ANSWERS.get(label, 404):
                wrong.append((label, foreign.path, status, text[:300]))
    for probe in in_headers(a.ids, b.ids, IDEMPOTENCY_KEY):
        status, text = await transcript.ask(probe)
        if status >= 500:
            wrong.append((probe.path, probe.headers, status, text[:300]))
    assert not wrong, json.dumps(wrong, indent=1)
    heard = [words[:400] for words in transcript.words if b.word in words]
    assert not heard
    assert await rows_of(database.superuser_url, b.tenant_id) == before
    with_ids = {probe.operation.route for probe, _ in pairs(a, b)}
    assert transcript.count >= 6 * len(with_ids)
    note_figures(tenant_routes=len(with_ids), tenant_probes=transcript.count, tenant_leaks=len(heard))


async def test_names_that_both_chose_stand_for_the_things_of_each(tenants: Any) -> None:
    """Idempotency keys, blackboards and artifacts of one name: each gets its own."""
    for one, other in ((tenants.a, tenants.b), (tenants.b, tenants.a)):
        path = f"/api/app/workflows/{one.ids['workflow_id']}/execute"
        again = await one.ask("POST", path, start_of(one.word), idempotency_key=IDEMPOTENCY_KEY)
        assert again["execution_id"] == one.ids["execution_id"]
        board = (await one.ask("GET", f"/api/state/{SCRATCH}"))["state"]
        assert board["note"] == one.word
        run = f"/runs/{one.ids['execution_id']}"
        value = f"{run}/values/{one.ids['sha256']}"
        for path in (
            f"/api/app/executions/{one.ids['execution_id']}/artifacts/report.md",
            f"{run}/artifacts/report.md",
            value,
        ):
            content = await one.http.get(path, headers=one.headers())
            assert content.text == one.word
        assert (await one.http.get(f"{run}/values/{other.ids['sha256']}", headers=one.headers())).status_code == 404


@pytest.mark.parametrize("chosen", [None, "a-session-of-b-alone"])
async def test_a_socket_is_closed_alike_for_what_is_anothers_and_nobodys(
    tenants: Any, serving: Serving, chosen: str | None
) -> None:
    wanted = {"flow_id": tenants.b.ids["flow_id"], "session_id": chosen}
    session_id = (await tenants.b.ask("POST", "/api/workflow/start", wanted))["session_id"]
    closes = []
    for told in (session_id, str(RandomIds().new()) if chosen is None else "a-session-of-nobody"):
        url = f"{serving.url.replace('http', 'ws', 1)}/ws/events/{told}"
        async with connect(url, additional_headers=tenants.a.headers()) as connection:
            with pytest.raises(ConnectionClosed) as closed:
                await connection.recv()
        assert closed.value.rcvd is not None
        closes.append((closed.value.rcvd.code, closed.value.rcvd.reason.replace(told, "ID")))
    assert closes[0] == closes[1]
    assert closes[0][0] == 4404


async def test_no_clock_tells_what_is_anothers_from_what_is_nobodys(tenants: Any, note_figures: Note) -> None:
    """G5: the difference of the medians is less than what the same question varies by itself."""
    waits: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(2 * 150):
        is_foreign = turn % 2 == 0
        told = tenants.b.ids["execution_id"] if is_foreign else str(RandomIds().new())
        began = time.perf_counter()
        answer = await tenants.a.http.get(f"/api/app/executions/{told}", headers=tenants.a.headers())
        waits[is_foreign].append(time.perf_counter() - began)
        assert answer.status_code == 404
    foreign, free = sorted(waits[True]), sorted(waits[False])
    difference = abs(median(foreign) - median(free))
    spread = free[int(len(free) * 0.9)] - free[int(len(free) * 0.1)]
    assert difference < spread
    note_figures(timing_difference_us=round(difference * 1e6), timing_spread_us=round(spread * 1e6))
