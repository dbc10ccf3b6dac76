"""Counters and timings of the engine. Losing one never delays anything."""

from __future__ import annotations

from typing import Literal, Protocol


class Telemetry(Protocol):
    """What the runtime reports. Durations are seconds."""

    def flushed(self, rows: int, entries: int, seconds: float) -> None: ...

    def fenced(self) -> None: ...

    def execution_started(self, kind: str) -> None: ...

    def execution_ended(self, kind: str, status: str, seconds: float, *, has_places: bool) -> None:
        """``has_places``: some of its tasks need a place on a worker."""
        ...

    def task_ended(self, node_type: str, status: str, seconds: float | None, *, is_placed: bool) -> None:
        """``is_placed``: a place was set aside for it; ``seconds`` None: nobody measured."""
        ...

    def claimed(self, count: int, seconds: float) -> None: ...

    def recovered(self, count: int, seconds: float) -> None:
        """Executions of a dead runner are moving again, so long after its last sign of life."""
        ...

    def loop_stalled(self, seconds: float, node_type: str) -> None: ...

    def tasks_waiting(self, reason: str, count: int) -> None:
        """So many tasks wait here for free room (``resources``) or for a worker that has enough (``no_worker``)."""
        ...

    def tasks_placed(self, count: int, workers: int) -> None:
        """So many tasks have a place here, and so many workers take tasks."""
        ...

    def worker_has(self, worker: str, cpu: float, free: float) -> None:
        """The cores of a worker that this process may use, and those of them that are free."""
        ...

    def gauge(self, name: str, value: float) -> None:
        """owned, queued_entries, queue_age_seconds, waiting_due, loop_lag_seconds."""
        ...


WebhookResult = Literal["delivered", "retried", "failed", "received", "duplicate", "ignored", "refused"]


class WebhookTelemetry(Protocol):
    """What happens to webhooks. ``out``: an attempt at a message; ``in``: a callback."""

    def webhook_ended(self, direction: Literal["out", "in"], result: WebhookResult) -> None: ...


CallOutcome = Literal["succeeded", "failed", "cancelled"]


class ModelTelemetry(Protocol):
    """What the model gateway reports. ``model`` is a configured name or ``other``, so that labels are bounded."""

    def model_called(self, model: str, outcome: CallOutcome, input_tokens: int, output_tokens: int) -> None: ...

    def cache_asked(self, cache: str, is_hit: bool) -> None: ...
