"""The names that clients of the lattice family scrape. Tasks are those with a place of their own on a worker, workflows
the graphs that have such tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)


class LatticeFigures(Collector):
    """Tasks and workflows are counted here; requests are those that ``requests`` and ``times`` have counted."""

    def __init__(self, registry: CollectorRegistry, requests: Counter, times: Histogram) -> None:
        self._requests = requests
        self._times = times
        self._tasks = Counter("lattice_task", "Attempts that ended here.", ["status"], registry=registry)
        self._task_seconds = Histogram(
            "lattice_task_duration_seconds", "How long those ran that succeeded.", registry=registry, buckets=_SECONDS
        )
        self._waiting = {"resources": 0, "no_worker": 0}
        self._queue = Gauge("lattice_task_queue_size", "Tasks that wait for a place on a worker.", registry=registry)
        self._placed = Gauge("lattice_task_in_progress", "Tasks that have their place.", registry=registry)
        self._nodes = Gauge("lattice_node_count", "Workers that take tasks.", registry=registry)
        self._workflows = Counter("lattice_workflow", "Runs that ended here.", ["status"], registry=registry)
        self._workflow_seconds = Histogram(
            "lattice_workflow_duration_seconds", "From their start to their end.", registry=registry, buckets=_SECONDS
        )
        self._running = Gauge("lattice_workflow_in_progress", "Runs that this process moves.", registry=registry)
        registry.register(self)

    def count_running(self, running: Callable[[], int]) -> None:
        """Ask this at each scrape how many runs are under way."""
        self._running.set_function(running)

    def task_ended(self, status: str, seconds: float | None) -> None:
        """One more attempt; None: nobody measured."""
        self._tasks.labels("failed" if status == "failed" else "succeeded").inc()
        if seconds is not None:
            self._task_seconds.observe(seconds)

    def workflow_ended(self, status: str, seconds: float) -> None:
        """One more run."""
        self._workflows.labels(status).inc()
        self._workflow_seconds.observe(seconds)

    def tasks_waiting(self, reason: str, count: int) -> None:
        """So many wait for this reason."""
        self._waiting[reason] = count
        self._queue.set(sum(self._waiting.values()))

    def places(self, held: int, workers: int) -> None:
        """So many tasks have a place, on so many workers."""
        self._placed.set(held)
        self._nodes.set(workers)

    def collect(self) -> Iterable[Metric]:
        """Asked for by a scrape."""
        requests = CounterMetricFamily(
            "lattice_api_request", "Requests answered.", labels=["endpoint", "method", "status_code"]
        )
        for sample in _samples(self._requests, "_total"):
            found = sample.labels
            requests.add_metric([found["route"], found["method"], found["status"]], sample.value)
        yield requests
        yield self._request_times()

    def _request_times(self) -> Metric:
        times = HistogramMetricFamily("lattice_api_request_duration_seconds", "Time of requests.", labels=["endpoint"])
        for metric in self._times.collect():
            for sample in metric.samples:
                suffix = sample.name.removeprefix(metric.name)
                labels = {"endpoint": sample.labels["route"], **_without(sample.labels, "route")}
                if suffix != "_created":
                    times.add_sample(times.name + suffix, labels, sample.value)
        return times


def _samples(counter: Counter, suffix: str) -> Iterable[Sample]:
    for metric in counter.collect():
        yield from (sample for sample in metric.samples if sample.name.endswith(suffix))


def _without(labels: dict[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in labels.items() if key != name}
