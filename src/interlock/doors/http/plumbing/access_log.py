"""A log line for each request and stream, written at its end: the route and not the path, no header, body or query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from interlock.doors.http.plumbing.settings import HttpTelemetry

if TYPE_CHECKING:
    from interlock.doors.http.plumbing.trace import Exchange

_PROBES = frozenset({"/health", "/api/v1/health", "/live", "/ready", "/metrics"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Lines(Protocol):
    """Where request lines go: a structlog logger, or anything that takes the same call."""

    def info(self, event: str, **fields: Any) -> Any: ...


class RequestLog:
    """Writes request lines and counts requests. Successful probes are counted and not written."""

    def __init__(self, lines: Lines, telemetry: HttpTelemetry, *, is_on: bool) -> None:
        self._lines = lines
        self._telemetry = telemetry
        self._is_on = is_on

    def write(self, exchange: Exchange, seconds: float) -> None:
        """``status`` 0 means that the caller left before the answer began."""
        method = exchange.method if exchange.method in _METHODS else "OTHER"
        self._telemetry.request_ended(exchange.route or "unmatched", method, exchange.status, seconds)
        if not self._is_on or (exchange.route in _PROBES and 0 < exchange.status < 400):
            return
        principal = exchange.principal
        self._lines.info(
            "request.completed",
            method=exchange.method,
            route=exchange.route or None,
            status=exchange.status,
            duration_ms=round(seconds * 1000, 3),
            client_ip=exchange.client,
            principal_id=principal.subject if principal is not None else None,
            tenant_id=principal.tenant_id if principal is not None else None,
            request_id=exchange.request_id,
            trace_id=exchange.trace_id,
            bytes_out=exchange.bytes_out,
        )
