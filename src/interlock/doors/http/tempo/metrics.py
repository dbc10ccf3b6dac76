"""Counters and timings as JSON."""

from __future__ import annotations

from interlock.doors.http.plumbing.operation import Call, Reply
from interlock.doors.http.plumbing.replies import NO_STORE, JsonReply
from interlock.services.registry.system import SYSTEM_FLOWS


async def metrics(call: Call[None, None]) -> Reply:
    """Sessions and registrations of the whole deployment; what its nodes took, of this process."""
    context = call.context
    totals, times = await call.services.totals(), context.telemetry.node_times()
    counters: dict[str, float] = {
        "sessions_total": totals["sessions"],
        "sessions_aborted": totals["aborted"],
        "events_processed": totals["signals"],
        "callbacks_total": totals["callbacks"],
    }
    counters |= {f"node_exec:{name}": found[0] for name, found in times.items()}
    gauges = {
        "nodes_registered": len(call.services.node_types.types) + totals["nodes"],
        "flows_registered": len(SYSTEM_FLOWS) + totals["flows"],
        "ws_connections": context.telemetry.streams_open("tempo"),
    }
    histograms = {
        f"histogram_node_latency:{name}": {"count": count, "avg": total / count, "max": most, "min": least}
        for name, (count, total, least, most) in times.items()
    }
    uptime = context.clock.monotonic() - context.started
    return JsonReply(
        {"uptime_seconds": round(uptime, 3), "counters": counters, "gauges": gauges, **histograms}, headers=NO_STORE
    )
