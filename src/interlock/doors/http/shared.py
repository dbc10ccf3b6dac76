"""Paths that belong to no door: who answers here, is it well, and what can it do."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from interlock.core.errors import not_found
from interlock.core.principal import Scope
from interlock.doors.http.app.door import AppError
from interlock.doors.http.identity.door import IdentityError
from interlock.doors.http.lattice.door import LatticeError
from interlock.doors.http.models.door import ModelError
from interlock.doors.http.plumbing.docs_page import PUBLIC, asset, cached, page
from interlock.doors.http.plumbing.errors import problem
from interlock.doors.http.plumbing.openapi import openapi
from interlock.doors.http.plumbing.operation import Call, Door, Operation, Policy, Reply
from interlock.doors.http.plumbing.replies import NO_STORE, BytesReply, EmptyReply, JsonReply
from interlock.doors.http.runs.door import RunsError
from interlock.doors.http.tempo.door import TempoError
from interlock.kit import strict_json
from interlock.kit.instants import rfc3339

SHARED = Door(name="shared", prefixes=("",), envelope=problem, media_type="application/problem+json")
SERVICE = "interlock"
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"

ExposeMetrics = Callable[[], bytes]

_SAMPLE = re.compile(r"^(interlock_\w+?)(?:\{[^}]*\})? (\S+)", re.MULTILINE)
_KIND = re.compile(r"^# TYPE (interlock_\w+) (counter|gauge)", re.MULTILINE)
_BIRTH = "_created"
"""The end of a sample that says when a counter was made; it is exposed like a gauge and is no figure."""


_ABOUT = """\
Workflows, sessions, approvals and models of one server. In local mode *Authorize* already names the tenant `default`;
elsewhere give it a token or an API key.

**To begin**: register a flow with `POST /api/registry/flows`, start a session of it with `POST /api/workflow/start`,
move it with `POST /api/workflow/{session_id}/event`. Each has an example that works as it is.

**What happens, live**: the WebSocket `/ws/events/{session_id}` sends every event of a session as a text frame and is
closed with 1000 behind the last one; `/ws/events/*` sends those of all sessions. `?after=<tick>` goes on behind an
event. Who you are is said by the `Authorization` header, by `?ticket=` or `?token=`, or by a first frame
`{"type": "auth", "token": "..."}`; in local mode `?tenant_id=default` is enough. Frames of the client,
`{"type": "USER_CONFIRM", "payload": {}, "id": "c1"}`, are events for the session.
"""


class SharedPaths:
    """The handlers of shared paths."""

    def __init__(self, operations: Sequence[Operation], expose_metrics: ExposeMetrics) -> None:
        self._operations = operations
        self._expose_metrics = expose_metrics
        self._document: dict[str, Any] | None = None

    async def root(self, call: Call[None, None]) -> Reply:
        """What this server is and where its parts are."""
        doors = {operation.door.name: operation.door for operation in self._operations if operation.door != SHARED}
        return JsonReply(
            {
                "service": SERVICE,
                "message": "Interlock: one front door for LLM-agent workflows",
                "version": call.context.settings.version,
                "environment": call.context.settings.environment,
                "timestamp": _now(call),
                "documentation": "/docs",
                "health_check": "/health",
                "auth_model": "jwt+api_key",
                "features": ["executions", "approvals"],
                "api_layers": {n: d.prefixes[0] for n, d in doors.items() if d.prefixes[0].startswith("/api/")},
                "endpoints": {"docs": "/docs", "health": "/health", "openapi": "/openapi.json"},
            },
            headers=NO_STORE,
        )

    async def version(self, call: Call[None, None]) -> Reply:
        """The version of the package that serves."""
        settings = call.context.settings
        return JsonReply(
            {
                "service": SERVICE,
                "version": settings.version,
                "environment": settings.environment,
                "debug": settings.debug,
                "timestamp": _now(call),
            },
            headers=NO_STORE,
        )

    async def health(self, call: Call[None, None]) -> Reply:
        """How the server and what it depends on are; 200 as long as it can serve at all."""
        settings = call.context.settings
        health, redis = await call.services.health(), call.context.limits.state
        is_trusted = settings.is_local or call.principal.has_scope(Scope.METRICS_READ)
        counters, gauges = self._figures() if is_trusted else ({}, {})
        state, _, _ = health.executor.partition(":")  # why it is unavailable tells of the house
        is_well = health.is_ready and "unavailable" not in (redis, health.blobs, state)
        return JsonReply(
            {
                "status": "ok",
                "ok": True,
                "health": "healthy" if is_well else "degraded",
                "service": SERVICE,
                "version": settings.version,
                "mode": settings.mode,
                "timestamp": _now(call),
                "redis": redis,
                "postgres": "connected" if health.checks["database"] else "unavailable",
                "blobs": health.blobs,
                "executor": settings.executor,
                "executor_state": health.executor if is_trusted else state,
                "sandbox": settings.sandbox,
                "metrics": {
                    "uptime_seconds": round(call.context.clock.monotonic() - call.context.started, 3),
                    "counters": counters,
                    "gauges": gauges,
                },
            },
            headers=NO_STORE,
        )

    async def v1_health(self, call: Call[None, None]) -> Reply:
        """That it serves, as clients of the older prefix ask for it; nothing else is looked at."""
        settings = call.context.settings
        return JsonReply(
            {
                "ok": True,
                "env_loaded": settings.env_loaded,
                "status": "healthy",
                "service": SERVICE,
                "version": settings.version,
                "timestamp": _now(call),
            },
            headers=NO_STORE,
        )

    async def live(self, call: Call[None, None]) -> Reply:
        """The event loop turns; nothing else is looked at."""
        return JsonReply({"live": True}, headers=NO_STORE)

    async def ready(self, call: Call[None, None]) -> Reply:
        """Whether new work should be sent here."""
        health = await call.services.health()
        accepts = health.checks.get("accepting", True) and not call.context.drain.has_begun
        checks = {**health.checks, "accepting": accepts}
        if all(checks.values()):
            return JsonReply({"ready": True}, headers=NO_STORE)
        return JsonReply({"ready": False, "checks": checks}, status=503, headers=(*NO_STORE, (b"retry-after", b"1")))

    async def metrics(self, call: Call[None, None]) -> Reply:
        """Counters and timings in the text format of Prometheus, of all processes that serve here together."""
        if not call.context.settings.metrics_enabled:
            raise not_found("NOT_FOUND", "This server does not tell its figures here")
        figures = await call.context.sum_up(self._expose_metrics())
        return BytesReply(figures, media_type=PROMETHEUS, headers=NO_STORE)

    async def openapi(self, call: Call[None, None]) -> Reply:
        """The OpenAPI document of every route."""
        return cached(strict_json.encode(self._documented(call)), "application/json", call.header("if-none-match"))

    async def docs(self, call: Call[None, None]) -> Reply:
        """The interactive documentation."""
        return page()

    async def docs_asset(self, call: Call[None, None]) -> Reply:
        """A script, style or picture of the documentation page."""
        return asset(call.path["name"], call.header("if-none-match"))

    async def to_docs(self, call: Call[None, None]) -> Reply:
        """The documentation under its other name."""
        return EmptyReply(302, (*PUBLIC, (b"location", b"/docs")))

    def _documented(self, call: Call[None, None]) -> dict[str, Any]:
        if self._document is None:
            settings = call.context.settings
            errors = {
                "app": AppError,
                "identity": IdentityError,
                "lattice": LatticeError,
                "models": ModelError,
                "runs": RunsError,
                "tempo": TempoError,
            }
            self._document = openapi(
                self._operations,
                settings.title,
                settings.version,
                errors,
                description=_ABOUT,
                is_local=settings.is_local,
            )
        return self._document

    def _figures(self) -> tuple[dict[str, float], dict[str, float]]:
        """The sums of all plain counters and gauges, by name."""
        text = self._expose_metrics().decode()
        kinds = dict(_KIND.findall(text))
        sums: dict[str, dict[str, float]] = {"counter": {}, "gauge": {}}
        for name, value in _SAMPLE.findall(text):
            if name.endswith(_BIRTH):
                continue
            kind = kinds.get(name) or kinds.get(name.removesuffix("_total"))
            if kind is not None:
                sums[kind][name] = sums[kind].get(name, 0.0) + float(value)
        return sums["counter"], sums["gauge"]


def _now(call: Call[None, None]) -> str:
    return rfc3339(call.context.clock.now())


def shared_operations(doors: Sequence[Operation], expose_metrics: ExposeMetrics) -> tuple[Operation, ...]:
    """The shared paths of a server that has these operations beside them."""
    operations: list[Operation] = list(doors)
    paths = SharedPaths(operations, expose_metrics)

    def get(path: str, summary: str, handler: Any, policy: Policy = Policy.OPEN, **rest: Any) -> Operation:
        return Operation(
            method="GET",
            path=path,
            door=SHARED,
            summary=summary,
            handler=handler,
            policy=policy,
            tags=("server",),
            **rest,
        )

    shared = (
        get("/", "What answers here", paths.root),
        get("/health", "How the server is", paths.health, Policy.OPTIONAL),
        get("/api/v1/health", "That the server answers, for older clients", paths.v1_health),
        get("/live", "Is the process alive", paths.live),
        get("/ready", "Should work be sent here", paths.ready, failures=(503,)),
        get("/version", "Version of the server", paths.version),
        get("/docs", "Interactive documentation", paths.docs, media_type="text/html"),
        get("/docs/assets/{name}", "Parts of the documentation page", paths.docs_asset, media_type="text/plain"),
        get("/redoc", "Documentation under its other name", paths.to_docs, status=302),
        get("/api/v1/docs", "Documentation under its other name", paths.to_docs, status=302),
        get("/openapi.json", "OpenAPI document", paths.openapi),
        get(
            "/metrics",
            "Metrics for Prometheus",
            paths.metrics,
            Policy.LOCAL,
            scope=Scope.METRICS_READ,
            media_type="text/plain",
        ),
    )
    operations.extend(shared)
    return shared
