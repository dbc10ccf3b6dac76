"""What is sent by OpenTelemetry is what ``/metrics`` says, under the same names."""

from __future__ import annotations

from datetime import UTC, datetime

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from collector_house import read
from interlock.backends.telemetry.otlp import OtlpWriter
from interlock.backends.telemetry.prometheus import PrometheusTelemetry
from interlock.backends.telemetry.pushing import points_of
from interlock.kit.clock import ManualClock

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def telling() -> PrometheusTelemetry:
    telemetry = PrometheusTelemetry("1.0")
    telemetry.request_ended("/a", "GET", 200, 0.0007)
    telemetry.request_ended("/a", "GET", 200, 0.3)
    telemetry.request_ended("/b", "GET", 404, 99.0)
    telemetry.task_ended("echo", "succeeded", 0.7, is_placed=True)
    telemetry.model_called("small", "succeeded", 3, 4)
    telemetry.worker_has("w1", 4.0, 1.5)
    telemetry.stream_opened("app")
    return telemetry


def sent(telemetry: PrometheusTelemetry) -> ExportMetricsServiceRequest:
    written = OtlpWriter({"service.name": "interlock"}, ManualClock(BEGAN)).write(telemetry.figures())
    return ExportMetricsServiceRequest.FromString(written)


def test_every_figure_is_sent_under_its_name() -> None:
    telemetry = telling()
    (part,) = sent(telemetry).resource_metrics
    exposed = {
        (
            sample.name.removesuffix("_count" if family.type == "histogram" else ""),
            frozenset(sample.labels.items()),
        ): sample.value
        for family in text_string_to_metric_families(telemetry.expose().decode())
        for sample in family.samples
        if not sample.name.endswith(("_created", "_bucket", "_sum"))
    }
    assert read(part) == exposed
    assert points_of(telemetry.figures()) == len(exposed)


def test_a_distribution_has_its_own_count_in_each_bucket() -> None:
    (part,) = sent(telling()).resource_metrics
    found = {metric.name: metric for metric in part.scope_metrics[0].metrics}
    (a, b) = found["interlock_http_request_seconds"].histogram.data_points
    assert (a.count, sum(a.bucket_counts)) == (2, 2)
    assert abs(a.sum - 0.3007) < 1e-9
    assert [bound for bound, count in zip(a.explicit_bounds, a.bucket_counts, strict=False) if count] == [0.001, 0.5]
    assert len(a.bucket_counts) == len(a.explicit_bounds) + 1
    assert b.bucket_counts[-1] == 1, "longer than the last bound"
    assert (a.start_time_unix_nano, a.time_unix_nano) == (1767225600_000000000,) * 2
