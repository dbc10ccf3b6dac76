"""Counters and timings of the engine. Losing one never delays anything."""

from __future__ import annotations

from typing import Protocol


class Telemetry(Protocol):
    """What the runtime reports. Durations are seconds."""

    def flushed(self, rows: int, entries: int, seconds: float) -> None: ...

    def fenced(self) -> None: ...

    def execution_started(self, kind: str) -> None: ...

    def execution_ended(self, kind: str, status: str) -> None: ...

    def task_ended(self, node_type: str, status: str, seconds: float) -> None: ...

    def claimed(self, count: int, seconds: float) -> None: ...

    def recovered(self, count: int, seconds: float) -> None:
        """Executions of a dead runner are moving again, so long after its last sign of life."""
        ...

    def loop_stalled(self, seconds: float, node_type: str) -> None: ...

    def gauge(self, name: str, value: float) -> None:
        """owned, queued_entries, queue_age_seconds, waiting_due, loop_lag_seconds."""
        ...
