"""The HTTP server of the house as one ASGI application."""

from __future__ import annotations

import structlog
from starlette.routing import Router
from starlette.types import ASGIApp

from interlock.doors.http.app.operations import OPERATIONS as APP_OPERATIONS
from interlock.doors.http.identity.operations import OPERATIONS as IDENTITY_OPERATIONS
from interlock.doors.http.lattice.operations import OPERATIONS as LATTICE_OPERATIONS
from interlock.doors.http.lattice.websocket import WATCH as WATCH_RUN
from interlock.doors.http.lattice.websocket import RunSocket
from interlock.doors.http.models.operations import OPERATIONS as MODELS_OPERATIONS
from interlock.doors.http.plumbing.access_log import RequestLog
from interlock.doors.http.plumbing.context import Context
from interlock.doors.http.plumbing.operation import Operation
from interlock.doors.http.plumbing.pipeline import Pipeline
from interlock.doors.http.plumbing.routing import RouteTable
from interlock.doors.http.plumbing.security import ALWAYS, Guarded
from interlock.doors.http.plumbing.tally import Tally
from interlock.doors.http.plumbing.template import Templates
from interlock.doors.http.plumbing.trace import Traced
from interlock.doors.http.runs.operations import OPERATIONS as RUNS_OPERATIONS
from interlock.doors.http.shared import ExposeMetrics, shared_operations
from interlock.doors.http.tempo.llm import OPERATIONS as LLM_OPERATIONS
from interlock.doors.http.tempo.operations import OPERATIONS as TEMPO_OPERATIONS
from interlock.doors.http.tempo.websocket import WATCH, EventSocket


def build_app(context: Context, expose_metrics: ExposeMetrics) -> ASGIApp:
    """All doors over ``context``. Raises RouteError if two operations claim a path or one declares no policy."""
    pipeline = Pipeline(context)
    table, *sockets = all_routes(context, expose_metrics, pipeline)
    router = Router([table, *sockets], redirect_slashes=False, default=pipeline.refuse_socket)
    guarded = Guarded(router, context.settings, pipeline)
    lines = structlog.get_logger("interlock.access").bind()
    templates = Templates(context, pipeline, lines, ALWAYS)
    tally = Tally(lines, is_on=context.settings.access_log)
    context.doorstep.open(context, templates, table.operation_at, table.methods_at, tally)
    log = RequestLog(lines, context.telemetry, is_on=context.settings.access_log)
    return Traced(guarded, context.clock, context.ids, log, ALWAYS)


def all_routes(
    context: Context, expose_metrics: ExposeMetrics, pipeline: Pipeline
) -> tuple[RouteTable, EventSocket, RunSocket]:
    """Everything that answers: each has ``operations``, which say who may call it."""
    return RouteTable(all_operations(expose_metrics), pipeline), EventSocket(context), RunSocket(context)


def all_sockets() -> tuple[Operation, ...]:
    """The policy of every WebSocket."""
    return (WATCH, WATCH_RUN)


def all_operations(expose_metrics: ExposeMetrics) -> tuple[Operation, ...]:
    """Every operation of every door, and the shared paths."""
    doors = (
        *APP_OPERATIONS,
        *IDENTITY_OPERATIONS,
        *MODELS_OPERATIONS,
        *LLM_OPERATIONS,
        *TEMPO_OPERATIONS,
        *LATTICE_OPERATIONS,
        *RUNS_OPERATIONS,
    )
    return (*doors, *shared_operations(doors, expose_metrics))
