"""A request that was counted and then refused counts, unless it was refused for want of room."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
import structlog
from starlette.routing import Router

from interlock.core.errors import ErrorKind, InterlockError, unavailable
from interlock.doors.http.app.door import APP
from interlock.doors.http.plumbing.access_log import RequestLog
from interlock.doors.http.plumbing.admission import Admission
from interlock.doors.http.plumbing.context import Context
from interlock.doors.http.plumbing.operation import Operation, Policy
from interlock.doors.http.plumbing.pipeline import Pipeline
from interlock.doors.http.plumbing.replies import JsonReply
from interlock.doors.http.plumbing.routing import RouteTable
from interlock.doors.http.plumbing.security import ALWAYS
from interlock.doors.http.plumbing.settings import NoTelemetry
from interlock.doors.http.plumbing.trace import Traced

BASE = "http://127.0.0.1:8000"
TEN = {"app:*": "10/hour"}


class Full(Admission):
    """The first to be counted finds that there is no place any more."""

    is_full = True

    async def enter(self, asker: str | None) -> Callable[[], None]:
        if self.is_full:
            self.is_full = False
            raise self.refusal(asker)
        return await super().enter(asker)


def limited(code: str) -> InterlockError:
    return InterlockError(ErrorKind.LIMITED, code, "not now", retryable=True, retry_after=1.0)


async def left_after(context: Context, error: InterlockError | None = None) -> tuple[int, str]:
    """The status of a call whose handler raises ``error``, and how many of its ten its caller has left thereafter."""

    async def handle(call: Any) -> JsonReply:
        if error is not None and call.exchange.path.endswith("/tried"):
            raise error
        return JsonReply({})

    told: dict[str, Any] = {
        "method": "GET",
        "door": APP,
        "summary": "Try",
        "policy": Policy.LOCAL,
        "scope": "executions:read",
    }
    operations = [Operation(path=path, handler=handle, **told) for path in ("/tried", "/left")]
    app = Traced(
        Router([RouteTable(operations, Pipeline(context))], redirect_slashes=False),
        context.clock,
        context.ids,
        RequestLog(structlog.get_logger(), NoTelemetry(), is_on=False),
        ALWAYS,
    )
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url=BASE) as client:
        tried = await client.get("/api/app/tried")
        return tried.status_code, (await client.get("/api/app/left")).headers["x-ratelimit-remaining"]


@pytest.mark.parametrize(
    "error",
    [limited("RATE_LIMIT_EXCEEDED"), limited("BUDGET_EXCEEDED"), unavailable("Too many people are logging in now")],
    ids=["a throttled login", "a budget that is used up", "too many logins at once"],
)
async def test_what_a_handler_refuses_counts(house: Any, error: InterlockError) -> None:
    status, left = await left_after(house.context(limits=TEN), error)
    assert (status in (429, 503), left) == (True, "8")


@pytest.mark.parametrize(
    "error",
    [limited("QUEUE_FULL"), unavailable("Too many signals wait to be written", code="QUEUE_FULL")],
    ids=["executions", "signals"],
)
async def test_what_finds_a_full_queue_does_not_count(house: Any, error: InterlockError) -> None:
    status, left = await left_after(house.context(limits=TEN), error)
    assert (status in (429, 503), left) == (True, "9")


async def test_what_a_stopping_server_does_not_take_does_not_count(house: Any) -> None:
    context = house.context(limits=TEN)
    context.drain.begin()
    assert await left_after(context, unavailable("The server is stopping")) == (503, "9")


async def test_what_finds_no_place_does_not_count(house: Any) -> None:
    context = dataclasses.replace(house.context(limits=TEN), admission=Full())
    assert (await left_after(context)) == (503, "9")


async def test_a_stream_without_a_seat_counts(house: Any, make_caller: Any) -> None:
    caller = await make_caller(app=house.app(limits={"app:/executions*": "5/hour"}, streams_per_principal=0))
    execution_id = await caller.started({"nodes": [{"id": "a", "type": "echo"}], "connections": []}, wait_ms=3000)
    for _ in range(2):
        assert (await caller.get(f"/executions/{execution_id}/stream")).status_code == 429
    assert (await caller.get("/executions")).headers["x-ratelimit-remaining"] == "2"
