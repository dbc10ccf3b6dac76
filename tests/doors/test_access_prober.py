"""Nobody without a credential reaches a guarded handler, however the path, the host or the method is written."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from starlette.routing import Router
from starlette.types import ASGIApp

from figures import Note
from interlock.core.principal import Scope
from interlock.doors.http.app_factory import all_operations
from interlock.doors.http.plumbing.access_log import RequestLog
from interlock.doors.http.plumbing.operation import Call, Operation, Policy, Reply
from interlock.doors.http.plumbing.pipeline import Pipeline
from interlock.doors.http.plumbing.replies import EmptyReply
from interlock.doors.http.plumbing.routing import RouteTable
from interlock.doors.http.plumbing.security import Guarded
from interlock.doors.http.plumbing.trace import Traced

OPERATIONS = all_operations(lambda: b"")
UNGUARDED = {Policy.OPEN, Policy.OPTIONAL, Policy.PROOF}
"""Their handlers are reached without a credential: that is what they declare."""

VARIANTS = (
    "{}",
    "{}/",
    "/{}",
    "//{}",
    "{}//",
    "/.{}",
    "/x/..{}",
    "{}/.",
    "{};x=1",
    "{}%2f",
    "{}%00",
    "{}%20",
    "{}?x=1",
    "{}#x",
    "{}/../../health",
    "/health/..{}",
    "/health;{}",
    "@evil.example{}",
    "http://evil.example{}",
)
HOSTS = ("127.0.0.1", "evil.example/health?x=", "evil.example#", "", "127.0.0.1, evil.example")
TRICKS: tuple[dict[str, str], ...] = (
    {},
    {"x-original-url": "/health", "x-rewrite-url": "/health"},
    {"x-forwarded-for": "127.0.0.1", "x-forwarded-host": "localhost", "x-forwarded-prefix": "/health"},
    {"x-http-method-override": "GET", "x-method-override": "HEAD"},
    {"x-tenant-id": "default", "x-user-id": "admin", "cookie": "access_token=x", "apikey": "x"},
)
METHODS = ("HEAD", "OPTIONS", "TRACE", "PROPFIND", "get", "QUERY")


class Probe:
    """A server whose handlers only note that they were reached. ``address`` is where the requests come from."""

    def __init__(self, house: Any) -> None:
        self.address = "192.0.2.7"
        self.hits: list[str] = []
        self.count = 0
        context = house.context(is_local=False)
        pipeline = Pipeline(context)
        table = RouteTable([self._watched(operation) for operation in OPERATIONS], pipeline)
        guarded = Guarded(Router([table], redirect_slashes=False), context.settings, pipeline)
        log = RequestLog(None, context.telemetry, is_on=False)  # type: ignore[arg-type]
        self._app: ASGIApp = Traced(guarded, context.clock, context.ids, log, [])

    def _watched(self, operation: Operation) -> Operation:
        async def handler(call: Call[Any, Any]) -> Reply:
            if operation.policy not in UNGUARDED:
                self.hits.append(f"{operation.method} {call.exchange.path}")
            return EmptyReply(204)

        return dataclasses.replace(operation, handler=handler)

    async def ask(self, method: str, target: str, host: str = "127.0.0.1", **headers: str) -> int:
        """The status of a request with exactly this target, decoded as the HTTP server decodes it."""
        raw, _, query = target.partition("?")
        found: list[int] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"{}", "more_body": False}

        async def send(message: Any) -> None:
            found.append(message.get("status", 0))

        pairs = [(b"host", host.encode()), *((name.encode(), text.encode()) for name, text in headers.items())]
        scope = {
            "type": "http",
            "method": method,
            "path": unquote(raw),
            "raw_path": raw.encode(),
            "query_string": query.encode(),
            "headers": pairs,
            "client": (self.address, 1),
            "extensions": {},
        }
        await self._app(scope, receive, send)
        self.count += 1
        await asyncio.sleep(0)  # the engine of this process must get its turn
        return found[0]


def guarded() -> list[tuple[str, str]]:
    """Method and a path of everything that needs a credential."""
    return [
        (operation.method, path.replace("{", "").replace("}", ""))
        for operation in OPERATIONS
        if operation.policy not in UNGUARDED
        for path in operation.paths()
    ]


async def test_no_spelling_of_a_request_reaches_a_guarded_handler(house: Any, note_figures: Note) -> None:
    """G2."""
    probe = Probe(house)
    odd = []
    for method, path in guarded():
        for target in (*(variant.format(path) for variant in VARIANTS), path.upper(), path.replace("/a", "/%61")):
            status = await probe.ask(method, target)
            if status not in (400, 401, 403, 404, 405) and not target.startswith("/health"):
                odd.append((method, target, status))
        for host in HOSTS:
            await probe.ask(method, path, host)
        for headers in TRICKS:
            await probe.ask(method, path, **headers)
        for other in METHODS:
            await probe.ask(other, path)
        await asyncio.sleep(0)
    assert probe.hits == []
    assert odd == []
    assert probe.count > 2_000
    note_figures(prober_routes=len(guarded()), prober_probes=probe.count, prober_handler_hits=len(probe.hits))


async def test_the_probe_would_notice_a_handler_that_is_reached(house: Any, tenant: Any) -> None:
    token = house.identity.mint("ann", tenant.tenant_id, frozenset(Scope))
    probe = Probe(house)
    assert await probe.ask("GET", "/api/app/executions", authorization=f"Bearer {token}") == 204
    assert probe.hits == ["GET /api/app/executions"]


def answered(url: str, request: bytes) -> int:
    """The status of raw bytes; 0 if the server closes without one."""
    place = urlsplit(url)
    with socket.create_connection((place.hostname or "", place.port or 0), timeout=10) as connection:
        connection.sendall(request)
        line = connection.makefile("rb").readline().split()
    return int(line[1]) if len(line) > 1 else 0


RAW = (
    b"GET http://evil.example/api/app/executions HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /api/app/executions HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: localhost\r\n\r\n",
    b"GET //api/app/executions HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /health/../api/app/executions HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /api%2fapp%2fexecutions HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET @evil.example/api/app/executions HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /api/app/executions HTTP/1.1\r\nHost: 127.0.0.1/health?x=\r\n\r\n",
    b"GET /api/app/executions HTTP/1.0\r\n\r\n",
    b"GET /api/app/executions HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Original-URL: /health\r\n\r\n",
    b"GET /api/app/executions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: \r\n\r\n",
    b"GET /api/app/executions HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Tenant-Id: default\r\n\r\n",
)


@pytest.mark.parametrize("request_bytes", RAW)
def test_a_real_server_in_local_mode_lets_no_such_request_in_either(server: Any, request_bytes: bytes) -> None:
    """G2."""
    assert answered(server.url, request_bytes) in (0, 400, 401, 403, 404, 421)
