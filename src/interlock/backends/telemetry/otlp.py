"""Figures in the OpenTelemetry protocol. The names are those of ``/metrics``, so that one dashboard reads both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2 as otlp
from prometheus_client.core import Metric
from prometheus_client.samples import Sample

from interlock.backends.telemetry.pushing import NotSentError, NotTaken, is_point
from interlock.kit.clock import Clock

SCOPE = "interlock"
_CUMULATIVE = otlp.AGGREGATION_TEMPORALITY_CUMULATIVE
_BOUND = "le"


class OtlpWriter:
    """Writes what one process tells; its counts begin when this is made. ``resource`` says which process it is."""

    def __init__(self, resource: Mapping[str, str], clock: Clock) -> None:
        self._resource = _attributes(resource)
        self._clock = clock
        self._began = _nanoseconds(clock.now())

    def write(self, figures: Sequence[Metric]) -> bytes:
        """The message that tells these figures."""
        now = _nanoseconds(self._clock.now())
        request = ExportMetricsServiceRequest()
        told_by = request.resource_metrics.add()
        told_by.resource.attributes.extend(self._resource)
        scope = told_by.scope_metrics.add()
        scope.scope.name = SCOPE
        scope.metrics.extend(self._metric(family, now) for family in figures if family.samples)
        written: bytes = request.SerializeToString()
        return written

    def _metric(self, family: Metric, now: int) -> otlp.Metric:
        told = otlp.Metric(name=family.name, description=family.documentation)
        if family.type == "histogram":
            told.histogram.aggregation_temporality = _CUMULATIVE
            told.histogram.data_points.extend(self._distributions(family, now))
        elif family.type == "counter":
            told.name += "_total"
            told.sum.aggregation_temporality = _CUMULATIVE
            told.sum.is_monotonic = True
            told.sum.data_points.extend(self._numbers(family, now))
        else:
            told.gauge.data_points.extend(self._numbers(family, now))
        return told

    def _numbers(self, family: Metric, now: int) -> Iterator[otlp.NumberDataPoint]:
        for sample in family.samples:
            if is_point(family, sample):
                yield otlp.NumberDataPoint(
                    attributes=_attributes(sample.labels),
                    start_time_unix_nano=self._began,
                    time_unix_nano=now,
                    as_double=sample.value,
                )

    def _distributions(self, family: Metric, now: int) -> Iterator[otlp.HistogramDataPoint]:
        for labels, samples in _by_labels(family):
            counts = {sample.labels[_BOUND]: sample.value for sample in samples if _BOUND in sample.labels}
            bounds = sorted(counts, key=float)
            running = [int(counts[bound]) for bound in bounds]  # each holds those before it
            sums = [sample.value for sample in samples if sample.name == f"{family.name}_sum"]
            yield otlp.HistogramDataPoint(
                attributes=_attributes(labels),
                start_time_unix_nano=self._began,
                time_unix_nano=now,
                count=running[-1],
                sum=sums[0] if sums else None,
                bucket_counts=[here - before for before, here in zip([0, *running], running, strict=False)],
                explicit_bounds=[float(bound) for bound in bounds[:-1]],  # the last one is infinite
            )


def read_answer(body: bytes) -> NotTaken | None:
    """What a collector says that it has not taken of a message. Raises NotSentError for words of no collector."""
    try:
        answer = ExportMetricsServiceResponse.FromString(body).partial_success
    except DecodeError as error:
        raise NotSentError("its answer cannot be read") from error
    rejected = answer.rejected_data_points
    return NotTaken(rejected, answer.error_message or "it gives no reason") if rejected else None


def _by_labels(family: Metric) -> Iterator[tuple[Mapping[str, str], list[Sample]]]:
    """The samples of each distribution of a family, with its labels."""
    found: dict[tuple[tuple[str, str], ...], list[Sample]] = {}
    for sample in family.samples:
        labels = tuple(item for item in sample.labels.items() if item[0] != _BOUND)
        found.setdefault(labels, []).append(sample)
    for key, samples in found.items():
        yield dict(key), samples


def _attributes(labels: Mapping[str, str]) -> list[KeyValue]:
    return [KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in labels.items()]


def _nanoseconds(instant: datetime) -> int:
    return int(instant.timestamp() * 1_000_000) * 1000
