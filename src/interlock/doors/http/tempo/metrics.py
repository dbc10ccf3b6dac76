"""Counters and timings of the whole deployment as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from interlock.doors.http.plumbing.operation import Call, Reply
from interlock.doors.http.plumbing.replies import NO_STORE, JsonReply
from interlock.services.nouns import NodeTotal
from interlock.services.registry.system import SYSTEM_FLOWS


async def metrics(call: Call[None, None]) -> Reply:
    """What all processes have counted together; uptime and sockets are of the one that answers."""
    services, context = call.services, call.context
    totals = await services.totals()
    nodes = await services.node_totals(None if context.settings.is_local else call.principal.tenant_id)
    counters: dict[str, float] = {
        "sessions_total": totals["sessions"],
        "sessions_aborted": totals["aborted"],
        "events_processed": totals["signals"],
        "callbacks_total": totals["callbacks"],
    }
    gauges = {
        "nodes_registered": len(services.node_types.types) + totals["nodes"],
        "flows_registered": len(SYSTEM_FLOWS) + totals["flows"],
        "ws_connections": context.telemetry.streams_open("tempo"),
    }
    uptime = context.clock.monotonic() - context.started
    told = {
        "uptime_seconds": round(uptime, 3),
        "counters": counters | {f"node_exec:{total.node}": total.ended for total in nodes},
        "gauges": gauges,
    }
    return JsonReply(told | _latencies(nodes), headers=NO_STORE)


def _latencies(nodes: Sequence[NodeTotal]) -> dict[str, Any]:
    return {
        f"histogram_node_latency:{total.node}": {
            "count": total.timed,
            "avg": total.seconds / total.timed,
            "max": total.most,
            "min": total.least,
        }
        for total in nodes
        if total.timed
    }
