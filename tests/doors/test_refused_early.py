"""What is refused is refused again, in the same words, and nobody looks at its credential, its limits or its body."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import httpx2
import pytest
from uvicorn.server import ServerState

from doors.flood_house import START, STARTS, Swallowing, flooded
from doors.socket_house import served
from interlock.core.errors import ErrorKind, InterlockError
from interlock.doors.http.plumbing import patience
from interlock.doors.http.plumbing.admission import Admission
from interlock.doors.http.plumbing.context import Context
from interlock.doors.http.plumbing.doorstep import REMEMBERED_SECONDS
from interlock.doors.http.plumbing.tally import Tally
from interlock.doors.http.plumbing.wire import protocol_over

ECHO = {"name": "Echo", "nodes": [{"id": "a", "type": "echo"}], "connections": []}
VARY = ("timestamp", "request_id", "trace_id", "retry_after", "reset_time", "message")
NO_PLACE = InterlockError(ErrorKind.LIMITED, "QUEUE_FULL", "too many wait", retryable=True, retry_after=1.0)


def fill_queues(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no room for any start."""

    def full(of: str) -> None:
        raise NO_PLACE

    engine: Any = context.services.start_execution._engine
    monkeypatch.setattr(engine._starting._room, "queue", full)
    monkeypatch.setattr(engine._starting._room, "refusal", lambda of: NO_PLACE)
    monkeypatch.setattr(engine._starting._room, "fits", lambda of: False)


def told(answer: httpx2.Response) -> dict[str, Any]:
    return {name: value for name, value in answer.json().items() if name not in (*VARY, "details")}


@pytest.fixture
def tenant_id(house: Any) -> str:
    return f"tenant-{house.ids.new()}"


async def test_the_second_refusal_asks_nobody_and_is_worded_like_the_first(house: Any, tenant_id: str) -> None:
    async with flooded(house, **STARTS) as flood, flood.client(tenant_id) as http:
        assert (await http.post(START, json={})).status_code == 404
        first = await http.post(START, json={})
        asked = flood.limiter.times
        again = [await http.post(START, json={}) for _ in range(5)]
        assert flood.limiter.times == asked
        assert {answer.status_code for answer in (first, *again)} == {429}
        assert all(told(answer) == told(first) for answer in again)
        assert all(list(answer.headers) == list(first.headers) for answer in again)
        assert 1 <= int(again[-1].headers["retry-after"]) <= 60
        assert again[-1].json()["retry_after"] == int(again[-1].headers["retry-after"])
        ids = {answer.headers["x-request-id"] for answer in (first, *again)}
        assert len(ids) == 6
        for answer in again:
            told_ids = answer.headers["x-request-id"], answer.headers["x-trace-id"]
            assert (answer.json()["request_id"], answer.json()["trace_id"]) == told_ids
            assert answer.headers["traceparent"] == f"00-{told_ids[1]}-{told_ids[0][16:]}-01"


async def test_ids_that_a_request_brings_are_answered(house: Any, tenant_id: str) -> None:
    async with flooded(house, **STARTS) as flood, flood.client(tenant_id) as http:
        for _ in range(3):
            await http.post(START, json={})
        answer = await http.post(START, json={}, headers={"x-request-id": "mine", "x-trace-id": "a.b"})
        assert answer.status_code == 429
        assert (answer.headers["x-request-id"], answer.headers["x-trace-id"]) == ("mine", "a.b")
        assert (answer.json()["request_id"], answer.json()["trace_id"]) == ("mine", "a.b")


async def test_nobody_else_and_nothing_else_is_refused(house: Any, tenant_id: str) -> None:
    async with flooded(house, **STARTS) as flood, flood.client(tenant_id) as http:
        for _ in range(4):
            last = await http.post(START, json={})
        assert last.status_code == 429
        async with flood.client(tenant_id, "bob") as other, flood.client(f"{tenant_id}-2") as stranger:
            assert (await other.post(START, json={})).status_code == 404
            assert (await stranger.post(START, json={})).status_code == 404
        assert (await http.get("/api/app/executions")).status_code == 200
        assert (await http.get(START)).status_code == 405
        assert (await http.post(START, json={}, headers={"authorization": "Bearer x.y.z"})).status_code == 401
        assert (await http.post(START, json={}, headers={"host": "evil.example"})).status_code == 421
        page = await http.post(START, json={}, headers={"origin": "http://localhost:3000"})
        assert page.headers["access-control-allow-origin"] == "http://localhost:3000"
        assert (await http.get("/health")).status_code == 200


async def test_as_soon_as_a_window_opens_the_next_request_passes(house: Any, tenant_id: str) -> None:
    changes = {"app:POST /workflows/{id}/execute": "1/minute"}
    async with flooded(house, **changes) as flood, flood.client(tenant_id) as http:
        for _ in range(20):
            assert (await http.post(START, json={})).status_code == 404
            flood.clock.seconds += 59.2
            assert [(await http.post(START, json={})).status_code for _ in range(2)] == [429, 429]
            flood.clock.seconds += 0.8


async def test_a_refusal_is_remembered_for_a_second(house: Any, tenant_id: str) -> None:
    async with flooded(house, **STARTS) as flood, flood.client(tenant_id) as http:
        for _ in range(3):
            await http.post(START, json={})
        asked = flood.limiter.times
        flood.clock.seconds += REMEMBERED_SECONDS + 0.01
        assert (await http.post(START, json={})).status_code == 429
        assert flood.limiter.times == asked + 1


async def test_what_may_be_given_back_is_asked_for_each_time(house: Any, tenant_id: str) -> None:
    async with flooded(house, **{"app:/executions*": "1/hour"}) as flood, flood.client(tenant_id) as http:
        answers = [await flood.asked_by(http) for _ in range(4)]
        assert answers == [(200, 1), *[(429, 1)] * 3]


async def test_a_full_line_is_refused_early_as_long_as_it_is_full(
    house: Any, tenant_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "BURST_SECONDS", -1.0)
    async with flooded(house, **{"app:*": "1000/hour"}) as flood:
        admission = Admission(1, 1)
        flood.context = dataclasses.replace(flood.context, admission=admission)
        async with served(flood.context) as port, flood.client(tenant_id) as http:
            http.base_url = httpx2.URL(f"http://127.0.0.1:{port.number}")
            leave = await admission.enter(tenant_id)
            waiting = asyncio.create_task(admission.enter(tenant_id))
            await asyncio.sleep(0)
            refused = [await http.get("/api/app/executions") for _ in range(3)]
            assert {answer.status_code for answer in refused} <= {429, 503}
            assert all(answer.headers["retry-after"] == "1" for answer in refused)
            assert flood.limiter.times == 0, "it counts nowhere"
            assert (await http.get("/live")).status_code == 200
            leave()
            (await waiting)()
            assert (await http.get("/api/app/executions")).status_code == 200


async def test_a_start_that_finds_a_full_queue_is_refused_early_unless_it_has_a_key(
    house: Any, tenant_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with flooded(house, **{"app:*": "1000/hour"}) as flood, flood.client(tenant_id) as http:
        workflow = (await http.post("/api/app/workflows", json=ECHO)).json()["workflow_id"]
        path = f"/api/app/workflows/{workflow}/execute"
        assert (await http.post(path, json={}, headers={"idempotency-key": "k"})).status_code == 200
        flood.clock.seconds += 1.0
        fill_queues(flood.context, monkeypatch)
        refused = await http.post(path, json={})
        asked = flood.limiter.times
        again = await http.post(path, json={})
        assert (refused.status_code, again.status_code) == (429, 429)
        assert told(refused) == told(again)
        assert flood.limiter.times == asked
        await http.post(path, json={}, headers={"idempotency-key": "k"})
        assert flood.limiter.times == asked + 1


async def test_each_reason_is_told_in_its_own_words(
    house: Any, tenant_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full queue of executions and a full line have one code."""
    monkeypatch.setattr(patience, "BURST_SECONDS", -1.0)
    async with flooded(house, **{"app:*": "1000/hour"}) as flood:
        admission = Admission(1, 1)
        flood.context = dataclasses.replace(flood.context, admission=admission)
        async with served(flood.context) as port, flood.client(tenant_id) as http:
            http.base_url = httpx2.URL(f"http://127.0.0.1:{port.number}")
            workflow = (await http.post("/api/app/workflows", json=ECHO)).json()["workflow_id"]
            path = f"/api/app/workflows/{workflow}/execute"
            fill_queues(flood.context, monkeypatch)
            waiting = [await http.post(path, json={}) for _ in range(2)]
            leave = await admission.enter(tenant_id)
            line = asyncio.create_task(admission.enter(tenant_id))
            await asyncio.sleep(0)
            crowded = await http.post(path, json={})
            leave()
            (await line)()
            waiting.append(await http.post(path, json={}))
    answers = [*waiting, crowded]
    assert {(answer.status_code, answer.json()["error_code"]) for answer in answers} == {(429, "QUEUE_FULL")}
    assert {answer.json()["message"] for answer in waiting} == {NO_PLACE.message}
    assert crowded.json()["message"].startswith("More requests of yours")


async def test_an_answer_without_news_opens_no_window_that_it_does_not_count_in(house: Any, tenant_id: str) -> None:
    async with flooded(house, **STARTS, **{"app:/executions*": "50/hour"}) as flood, flood.client(tenant_id) as http:
        workflow = (await http.post("/api/app/workflows", json=ECHO)).json()["workflow_id"]
        path = f"/api/app/workflows/{workflow}/execute"
        started = (await http.post(path, json={"wait_ms": 3000})).json()["execution_id"]
        seen = await http.get(f"/api/app/executions/{started}")
        assert (await http.post(path, json={})).status_code == 429
        news = await http.get(f"/api/app/executions/{started}", headers={"if-none-match": seen.headers["etag"]})
        asked = flood.limiter.times
        assert (news.status_code, (await http.post(path, json={})).status_code) == (304, 429)
        assert flood.limiter.times == asked


async def test_a_long_pipeline_of_a_caller_over_its_limit_is_answered_in_order(house: Any, tenant_id: str) -> None:
    many = 2000
    async with flooded(house, **STARTS) as flood, flood.client(tenant_id) as http, served(flood.context) as port:
        request = (
            f"POST {START} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {http.headers['authorization']}\r\n"
            "Content-Type: application/json\r\nContent-Length: 2\r\nX-Request-ID: n{}\r\n\r\n{{}}"
        )
        client = Swallowing(many)
        made = protocol_over(port.connections, flood.context.doorstep)
        protocol = made(config=port.server.config, server_state=ServerState(), app_state={})
        protocol.connection_made(client)
        protocol.data_received("".join(request.format(number) for number in range(many)).encode())
        async with asyncio.timeout(60):
            await client.has_all.wait()
        protocol.connection_lost(None)
    heads = [answer.partition(b"\r\n\r\n")[0] for answer in b"".join(client.written).split(b"HTTP/1.1 ")[1:]]
    assert [int(head[:3]) for head in heads] == [404, *[429] * (many - 1)]
    told = [next(line for line in head.split(b"\r\n") if line.startswith(b"x-request-id")) for head in heads]
    assert told == [b"x-request-id: n%d" % number for number in range(many)]


async def test_a_second_of_refusals_of_one_sort_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock.doors.http.plumbing.tally.SECONDS", 0.0)
    written: list[dict[str, Any]] = []
    done = asyncio.Event()

    class Lines:
        def info(self, event: str, **fields: Any) -> None:
            written.append({"event": event, **fields})
            done.set()

    tally = Tally(Lines(), is_on=True)
    for _ in range(7):
        tally.note("POST", "/x", 429, "QUEUE_FULL", "t")
    async with asyncio.timeout(5):
        await done.wait()
    assert written == [
        {
            "event": "request.refused",
            "method": "POST",
            "route": "/x",
            "status": 429,
            "code": "QUEUE_FULL",
            "asker": "t",
            "count": 7,
            "seconds": 0.0,
        }
    ]
