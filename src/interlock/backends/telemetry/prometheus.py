"""The engine's counters and timings as Prometheus metrics. Labels are bounded: kinds, statuses, node types."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from interlock.backends.telemetry.lattice import LatticeFigures
from interlock.backends.telemetry.models import ModelCounts
from interlock.ports.telemetry import CallOutcome

_FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_SLOW = (0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 30.0, 60.0)
_ROWS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)


class TaskCounts(Collector):
    """Ended tasks, counted without a lock: the hottest counter, raised on the event loop alone."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], int] = {}

    def collect(self) -> Iterable[Metric]:
        """Asked for by a scrape."""
        tasks = CounterMetricFamily("interlock_tasks", "Tasks that ended here.", labels=["node_type", "status"])
        for key, count in list(self.counts.items()):
            tasks.add_metric(key, count)
        yield tasks
        yield CounterMetricFamily("interlock_steps", "Task results recorded here.", sum(self.counts.values()))


class PrometheusTelemetry:
    """Satisfies ``ports/telemetry``; one registry per server, so that several fit into one interpreter."""

    def __init__(self, version: str) -> None:
        self.registry = CollectorRegistry()
        Gauge("interlock_build_info", "Version of this server.", ["version"], registry=self.registry).labels(
            version
        ).set(1)
        self._started = self._counter("executions_started_total", "Executions started here.", "kind")
        self._ended = self._counter("executions_total", "Executions ended here.", "kind", "status")
        self._tasks = TaskCounts()
        self.registry.register(self._tasks)
        self._models = ModelCounts()
        self.registry.register(self._models)
        self._task_seconds = self._histogram("task_duration_seconds", "How long attempts ran.", _SLOW, "node_type")
        self._flush_seconds = self._histogram("journal_flush_seconds", "Time of one flush with its commit.", _FAST)
        self._flush_rows = self._histogram("journal_flush_rows", "Event rows of one flush.", _ROWS)
        self._flush_entries = self._histogram("journal_flush_entries", "Entries of one flush.", _ROWS)
        self._fences = self._counter("journal_fenced_total", "Flushes refused because this runner had been reaped.")
        self._claim_seconds = self._histogram("claim_seconds", "Time of one claim that found work.", _FAST)
        self._claims = self._counter("executions_claimed_total", "Executions claimed here.")
        self._recovery = self._histogram(
            "recovery_seconds", "From a dead runner's last heartbeat until its executions were free.", _SLOW
        )
        self._recovered = self._counter("executions_recovered_total", "Executions freed from dead runners here.")
        self._stalls = self._counter("loop_stalls_total", "Plain nodes that held the event loop too long.", "node_type")
        self._stall_seconds = self._histogram("loop_stall_seconds", "How long they held it.", _FAST)
        self._requests = self._counter("http_requests_total", "Requests answered.", "route", "method", "status")
        self._request_seconds = self._histogram("http_request_seconds", "Time of requests.", _FAST, "route")
        self._auth_failures = self._counter("auth_failures_total", "Credentials refused.", "door", "reason")
        self._refused = self._counter("connections_refused_total", "Connections refused or ended early.", "reason")
        self._streams = Gauge("interlock_streams_open", "Streams open now.", ["door"], registry=self.registry)
        self._dropped = Counter(
            "interlock_streams_dropped", "Streams cut off because nobody read them.", ["door"], registry=self.registry
        )
        self._webhooks = self._counter(
            "webhook_deliveries_total", "Messages to webhooks and callbacks from them.", "direction", "result"
        )
        self._points_lost = self._counter("metrics_points_lost_total", "Figures no exporter took.", "exporter")
        self._tasks_waiting = self._gauge("tasks_waiting", "Tasks that wait for a place.", "reason")
        self._worker_cpu = self._gauge("worker_cpu", "Cores for tasks with resources.", "worker")
        self._worker_cpu_free = self._gauge("worker_cpu_free", "Those of them that are free.", "worker")
        self.lattice = LatticeFigures(self.registry, self._requests, self._request_seconds)
        self._gauges: dict[str, Gauge] = {}
        self._children: dict[tuple[str, ...], Counter] = {}
        self._timings: dict[str, Histogram] = {}

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"interlock_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"interlock_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"interlock_{name}", text, labels, registry=self.registry, buckets=buckets)

    def flushed(self, rows: int, entries: int, seconds: float) -> None:
        self._flush_seconds.observe(seconds)
        self._flush_rows.observe(rows)
        self._flush_entries.observe(entries)

    def fenced(self) -> None:
        self._fences.inc()

    def execution_started(self, kind: str) -> None:
        self._started.labels(kind).inc()

    def execution_ended(self, kind: str, status: str, seconds: float, *, has_places: bool) -> None:
        self._ended.labels(kind, status).inc()
        if has_places:
            self.lattice.workflow_ended(status, seconds)

    def task_ended(self, node_type: str, status: str, seconds: float | None, *, is_placed: bool) -> None:
        if is_placed:
            self.lattice.task_ended(status, seconds)
        counts = self._tasks.counts
        counts[node_type, status] = counts.get((node_type, status), 0) + 1
        if seconds is not None:
            self._task_seconds.labels(node_type).observe(seconds)

    def claimed(self, count: int, seconds: float) -> None:
        self._claims.inc(count)
        self._claim_seconds.observe(seconds)

    def recovered(self, count: int, seconds: float) -> None:
        self._recovered.inc(count)
        self._recovery.observe(seconds)

    def loop_stalled(self, seconds: float, node_type: str) -> None:
        self._stalls.labels(node_type).inc()
        self._stall_seconds.observe(seconds)

    def tasks_waiting(self, reason: str, count: int) -> None:
        self._tasks_waiting.labels(reason).set(count)
        self.lattice.tasks_waiting(reason, count)

    def tasks_placed(self, count: int, workers: int) -> None:
        self.lattice.places(count, workers)

    def worker_has(self, worker: str, cpu: float, free: float) -> None:
        self._worker_cpu.labels(worker).set(cpu)
        self._worker_cpu_free.labels(worker).set(free)

    def gauge(self, name: str, value: float) -> None:
        gauge = self._gauges.get(name)
        if gauge is None:
            gauge = self._gauges[name] = Gauge(
                f"interlock_{name}", f"{name.replace('_', ' ')} of this runner.", registry=self.registry
            )
        gauge.set(value)

    def request_ended(self, route: str, method: str, status: int, seconds: float) -> None:
        key = (route, method, str(status))
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self._requests.labels(*key)
        child.inc()
        timing = self._timings.get(route)
        if timing is None:
            timing = self._timings[route] = self._request_seconds.labels(route)
        timing.observe(seconds)

    def auth_failed(self, door: str, reason: str) -> None:
        self._auth_failures.labels(door, reason).inc()

    def connection_refused(self, reason: str) -> None:
        """``reason`` is the status it was refused with, or ``stalled``."""
        self._refused.labels(reason).inc()

    def stream_opened(self, door: str) -> None:
        self._streams.labels(door).inc()

    def stream_closed(self, door: str) -> None:
        self._streams.labels(door).dec()

    def stream_dropped(self, door: str) -> None:
        self._dropped.labels(door).inc()

    def webhook_ended(self, direction: str, result: str) -> None:
        self._webhooks.labels(direction, result).inc()

    def model_called(self, model: str, outcome: CallOutcome, input_tokens: int, output_tokens: int) -> None:
        self._models.called(model, outcome, input_tokens, output_tokens)

    def cache_asked(self, cache: str, is_hit: bool) -> None:
        self._models.cache_asked(cache, is_hit=is_hit)

    def streams_open(self, door: str) -> int:
        """Streams of a door that are open here."""
        return int(self.registry.get_sample_value("interlock_streams_open", {"door": door}) or 0)

    def points_lost(self, exporter: str, count: int) -> None:
        """So many figures were sent by an exporter and not taken."""
        self._points_lost.labels(exporter).inc(count)

    def figures(self) -> Sequence[Metric]:
        """What there is to tell now, for those that send it. On the event loop, like all that counts."""
        return list(self.registry.collect())

    def expose(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self.registry)
