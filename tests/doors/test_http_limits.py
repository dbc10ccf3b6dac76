"""Limits at the door: which requests count, what answers say of it, and what changes nothing."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from typing import Any

import httpx2
import pytest
from starlette.routing import Router

from interlock.backends.limiter.memory import MemoryLimiter
from interlock.core.limits import LimitTable
from interlock.doors.http.app.door import APP
from interlock.doors.http.plumbing.client import ClientAddresses
from interlock.doors.http.plumbing.limits import Limits
from interlock.doors.http.plumbing.operation import Operation, Policy
from interlock.doors.http.plumbing.pipeline import Pipeline
from interlock.doors.http.plumbing.replies import JsonReply
from interlock.doors.http.plumbing.routing import RouteTable
from interlock.doors.http.plumbing.security import ALWAYS
from interlock.doors.http.plumbing.trace import Traced
from interlock.services.limits import CountRequests

BASE = "http://127.0.0.1:8000"
UNKNOWN = "01a200d1-a110-7d1f-acf5-1ee0f56c9eda"
THREE = {"app:/executions*": "3/hour"}
HEADERS = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "ratelimit-policy", "ratelimit")


async def statuses(caller: Any, path: str, times: int) -> list[int]:
    return [(await caller.get(path)).status_code for _ in range(times)]


async def test_a_limited_answer_says_where_its_caller_stands(house: Any, make_caller: Any) -> None:
    caller = await make_caller(app=house.app(limits=THREE))
    first = await caller.get("/executions")
    assert first.status_code == 200
    assert first.headers["x-ratelimit-limit"] == "3"
    assert first.headers["x-ratelimit-remaining"] == "2"
    assert 3590 < int(first.headers["x-ratelimit-reset"]) - time.time() <= 3601
    assert first.headers["ratelimit-policy"] == '"app-executions-hour";q=3;w=3600;qu="requests"'
    assert first.headers["ratelimit"] == '"app-executions-hour";r=2;t=3600'


async def test_a_refused_request_is_told_when_to_come_again(house: Any, make_caller: Any) -> None:
    caller = await make_caller(app=house.app(limits=THREE))
    assert await statuses(caller, "/executions", 3) == [200, 200, 200]
    refused = await caller.get("/executions")
    body = refused.json()
    assert refused.status_code == 429
    assert body["success"] is False
    assert (body["error"], body["error_code"]) == ("rate_limit_exceeded", "RATE_LIMIT_EXCEEDED")
    assert (body["limit"], body["current"]) == (3, 3)
    wait = int(refused.headers["retry-after"])
    assert body["retry_after"] == wait
    assert 3590 < wait <= 3600
    assert body["reset_time"] == int(refused.headers["x-ratelimit-reset"])
    assert refused.headers["x-ratelimit-remaining"] == "0"
    assert re.search(r";r=0;t=(\d+)$", refused.headers["ratelimit"])[1] == str(wait)
    assert body["retryable"] is True


async def test_errors_after_the_limit_carry_the_headers_too_and_count(house: Any, make_caller: Any) -> None:
    caller = await make_caller(app=house.app(limits=THREE))
    missing = await caller.get(f"/executions/{UNKNOWN}")
    broken = await caller.http.post(f"/api/app/executions/{UNKNOWN}/cancel", content=b"{")
    assert (missing.status_code, broken.status_code) == (404, 400)
    assert all(name in missing.headers and name in broken.headers for name in HEADERS)
    assert (await caller.get("/executions")).headers["x-ratelimit-remaining"] == "0"


async def test_a_request_without_a_valid_credential_or_scope_counts_for_nobody(house: Any, make_caller: Any) -> None:
    app = house.app(limits=THREE)
    caller = await make_caller(app=app)
    reader = await make_caller(caller.tenant_id, subject=caller.subject, scopes={"workflows:read"}, app=app)
    for _ in range(5):
        assert (await reader.get("/executions")).status_code == 403
        told = {"authorization": "Bearer forged"}
        assert (await caller.get("/executions", headers=told)).status_code == 401
    assert await statuses(caller, "/executions", 4) == [200, 200, 200, 429]


SPELLINGS = [
    "/api/app/executions",
    "/api/v1/app/executions",
    "/api/app/executions/",
    "/api/app/executions?limit=1",
    "/api/app/%65xecutions",
    "/api/v1/app/executions?x=1",
]
IDS = [f"/api/app/executions/01a200d1-a110-7d1f-acf5-1ee0f56c9e{n:02x}" for n in range(6)]


@pytest.mark.parametrize("paths", [SPELLINGS, IDS], ids=["spellings", "ids"])
async def test_no_spelling_and_no_id_escapes_a_limit(house: Any, make_caller: Any, paths: list[str]) -> None:
    caller = await make_caller(app=house.app(limits=THREE))
    answers = [(await caller.http.get(path)).status_code for path in paths]
    assert sum(status != 429 for status in answers) == 3


@pytest.mark.parametrize("path", ["/api/app//executions", "/api/app/EXECUTIONS", "/API/app/executions", "//api/app/x"])
async def test_a_path_that_is_none_is_not_found_and_counts_nothing(house: Any, make_caller: Any, path: str) -> None:
    caller = await make_caller(app=house.app(limits=THREE))
    for _ in range(5):
        assert (await caller.http.get(path)).status_code == 404
    assert (await caller.get("/executions")).headers["x-ratelimit-remaining"] == "2"


async def test_every_method_of_a_route_counts_head_too(house: Any, make_caller: Any) -> None:
    caller = await make_caller(app=house.app(limits=THREE))
    assert (await caller.http.head("/api/app/executions")).headers["x-ratelimit-remaining"] == "2"
    assert (await caller.http.options("/api/app/executions")).status_code == 204
    assert (await caller.get("/executions")).headers["x-ratelimit-remaining"] == "1"


async def test_two_users_of_a_tenant_have_a_limit_each(house: Any, make_caller: Any) -> None:
    app = house.app(limits=THREE)
    first = await make_caller(app=app)
    second = await make_caller(first.tenant_id, subject="another", app=app)
    assert await statuses(first, "/executions", 4) == [200, 200, 200, 429]
    assert await statuses(second, "/executions", 4) == [200, 200, 200, 429]
    same = await make_caller(first.tenant_id, subject=first.subject, app=app)
    assert await statuses(same, "/executions", 1) == [429]


async def test_an_answer_without_news_is_free(house: Any, make_caller: Any) -> None:
    app = house.app(limits={"app:/executions*": "5/hour"})
    caller = await make_caller(app=app)
    execution_id = await caller.started({"nodes": [{"id": "a", "type": "echo"}], "connections": []}, wait_ms=3000)
    first = await caller.get(f"/executions/{execution_id}")
    tag = {"if-none-match": first.headers["etag"]}
    answers = [await caller.get(f"/executions/{execution_id}", headers=tag) for _ in range(20)]
    assert {answer.status_code for answer in answers} == {304}
    assert (await caller.get("/executions")).headers["x-ratelimit-remaining"] == "3"


async def test_outside_local_mode_the_table_holds_and_nothing_switches_it_off(house: Any, make_caller: Any) -> None:
    caller = await make_caller(app=house.app(is_local=False, environment="production"))
    workflow_id = await caller.stored({"nodes": [{"id": "a", "type": "echo"}], "connections": []})
    path = f"/workflows/{workflow_id}/execute"
    answers = [await caller.post(path) for _ in range(120)]
    assert [answer.status_code for answer in answers].count(200) == 100
    assert answers[-1].status_code == 429
    policies = answers[0].headers["ratelimit-policy"]
    assert policies == '"app-execute-hour";q=100;w=3600;qu="requests", "app-hour";q=10000;w=3600;qu="requests"'


async def test_local_mode_limits_nobody_unless_told_to(house: Any, make_caller: Any) -> None:
    caller = await make_caller()
    answer = await caller.get("/executions")
    assert not any(name in answer.headers for name in HEADERS)
    assert (await caller.get("/limits")).json() == {
        "success": True,
        "tier": "development",
        "limits": [],
        "storage": "process",
    }


async def test_callers_can_see_their_limits(house: Any, make_caller: Any) -> None:
    caller = await make_caller(app=house.app(is_local=False, environment="production", limits=THREE))
    await caller.get("/executions")
    shown = (await caller.get("/limits")).json()
    assert shown["tier"] == "standard"
    by_name = {limit["name"]: limit for limit in shown["limits"]}
    executions = by_name["app-executions-hour"]
    assert (executions["limit"], executions["current"], executions["remaining"]) == (3, 1, 2)
    assert executions["window_seconds"] == 3600
    assert "/executions*" in executions["routes"]
    assert (by_name["app-hour"]["current"], by_name["app-hour"]["routes"]) == (2, ["*"])
    assert by_name["app-chat-hour"]["current"] == 0


async def test_probes_are_never_limited(house: Any) -> None:
    app = house.app(is_local=False, environment="production")
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url=BASE) as client:
        for path in ("/health", "/live", "/version"):
            answers = [await client.get(path) for _ in range(30)]
            assert {answer.status_code for answer in answers} == {200}
            assert "ratelimit" not in answers[0].headers


# Callers whom nobody knows --------------------------------------------------------------------------------------


async def hello(call: Any) -> JsonReply:
    return JsonReply({"hello": call.context.limits.client_of(call.scope)})


PUBLIC = dataclasses.replace(APP, name="public", prefixes=("/api/public", "/api/v1/public"))


def public(path: str) -> Operation:
    return Operation(method="GET", path=path, door=PUBLIC, summary="Hello", handler=hello, policy=Policy.OPEN)


def public_app(house: Any, trusted: tuple[str, ...] = ()) -> Any:
    """Two public routes and a probe behind trusted proxies, limited as in production."""
    context = house.context(is_local=False, environment="production")
    limits = Limits(CountRequests(LimitTable(), MemoryLimiter(house.clock)), house.clock, ClientAddresses(trusted))
    context = dataclasses.replace(context, limits=limits)
    operations = [public(path) for path in ("/info", "/status", "/health", "/hello")]
    router = Router([RouteTable(operations, Pipeline(context))], redirect_slashes=False)
    return Traced(router, house.clock, house.ids, _NoLog(), ALWAYS)


class _NoLog:
    def write(self, *_: Any) -> None:
        """Nothing is written."""


async def burst(app: Any, path: str, times: int, peer: str = "203.0.113.5", **headers: str) -> list[int]:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    transport = httpx2.ASGITransport(app=app, client=(peer, 4711))
    async with httpx2.AsyncClient(transport=transport, base_url=BASE) as client:
        return [(await client.get(path, headers=told)).status_code for _ in range(times)]


async def test_a_public_route_has_its_own_limit_and_the_total(house: Any) -> None:
    """G14."""
    app = public_app(house)
    assert (await burst(app, "/api/public/info", 70)).count(200) == 60
    assert (await burst(app, "/api/v1/public/info", 5)).count(200) == 0
    assert (await burst(app, "/api/public/status", 70)).count(200) == 40, "the total of 100 is used up"
    assert (await burst(app, "/api/public/hello", 1)) == [429]
    assert (await burst(app, "/api/public/health", 200)).count(200) == 200


async def test_forged_forwarding_headers_change_nothing(house: Any) -> None:
    app = public_app(house)
    admitted = 0
    for number in range(70):
        forged = {"x_forwarded_for": f"10.0.0.{number}", "x_real_ip": f"10.0.0.{number}", "forwarded": f"for={number}"}
        admitted += (await burst(app, "/api/public/info", 1, **forged)).count(200)
    assert admitted == 60


async def test_behind_a_trusted_proxy_each_client_has_its_limit(house: Any) -> None:
    app = public_app(house, ("10.1.0.0/16",))
    behind = {"peer": "10.1.0.9"}
    assert (await burst(app, "/api/public/info", 70, **behind, x_forwarded_for="1.1.1.1, 198.51.100.1")).count(
        200
    ) == 60
    assert (await burst(app, "/api/public/info", 5, **behind, x_forwarded_for="2.2.2.2, 198.51.100.1")).count(200) == 0
    assert (await burst(app, "/api/public/info", 5, **behind, x_forwarded_for="198.51.100.2")).count(200) == 5


async def test_one_ipv6_network_is_one_client(house: Any) -> None:
    app = public_app(house)
    admitted = 0
    for number in range(70):
        admitted += (await burst(app, "/api/public/info", 1, peer=f"2001:db8:0:1::{number:x}")).count(200)
    assert admitted == 60
    assert await burst(app, "/api/public/info", 1, peer="2001:db8:0:2::1") == [200]


async def test_the_refusal_of_a_public_route_is_in_its_doors_words(house: Any) -> None:
    app = public_app(house)
    await burst(app, "/api/public/info", 60)
    transport = httpx2.ASGITransport(app=app, client=("203.0.113.5", 1))
    async with httpx2.AsyncClient(transport=transport, base_url=BASE) as client:
        answer = await client.get("/api/public/info")
    body = json.loads(answer.content)
    assert (answer.status_code, body["error"], body["limit"]) == (429, "rate_limit_exceeded", 60)
    assert 1 <= int(answer.headers["retry-after"]) <= 60
