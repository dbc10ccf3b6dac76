"""A collector of OpenTelemetry for tests: it speaks both of its transports, and remembers what it was sent."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as wire
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import (
    MetricsServiceServicer,
    add_MetricsServiceServicer_to_server,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

DEADLINE = 60.0
Key = tuple[str, frozenset[tuple[str, str]]]


class Collector:
    """What came, in the order it came. ``status`` and ``rejected`` are what it answers; ``asked`` are the paths."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 200
        self.rejected = 0
        self.asked: list[str] = []
        self._requests: list[wire.ExportMetricsServiceRequest] = []
        self._came = threading.Condition()

    def take(self, request: wire.ExportMetricsServiceRequest) -> wire.ExportMetricsServiceResponse:
        """Note a message that is taken; the answer to it."""
        with self._came:
            self._requests.append(request)
            self._came.notify_all()
        answer = wire.ExportMetricsServiceResponse()
        if self.rejected:
            answer.partial_success.rejected_data_points = self.rejected
            answer.partial_success.error_message = "too many series"
        return answer

    def turn_away(self) -> None:
        """Note a message that is not taken."""
        with self._came:
            self.asked.append("refused")
            self._came.notify_all()

    def wait(self, count: int) -> None:
        """Until so many messages were taken."""
        with self._came:
            assert self._came.wait_for(lambda: len(self._requests) >= count, DEADLINE), "nothing came"

    def wait_refused(self, count: int) -> None:
        """Until so many messages were turned away."""
        with self._came:
            assert self._came.wait_for(lambda: self.asked.count("refused") >= count, DEADLINE), "nothing came"

    def resources(self) -> list[dict[str, str]]:
        """Of each message, who sent it."""
        return [_plain(part.resource.attributes) for request in self._requests for part in request.resource_metrics]

    def last(self, instance: str = "") -> dict[Key, float]:
        """The newest figures, by name and labels, of any or of one process; of distributions how many there were."""
        parts = [part for request in self._requests for part in request.resource_metrics]
        told = [part for part in parts if _plain(part.resource.attributes)["service.instance.id"].startswith(instance)]
        return read(told[-1])


def read(told: Any) -> dict[Key, float]:
    """The figures of a message's part, by name and labels; of distributions how many there were."""
    found: dict[Key, float] = {}
    for scope in told.scope_metrics:
        for metric in scope.metrics:
            for point in (*metric.gauge.data_points, *metric.sum.data_points):
                found[metric.name, frozenset(_plain(point.attributes).items())] = point.as_double
            for point in metric.histogram.data_points:
                found[metric.name, frozenset(_plain(point.attributes).items())] = point.count
    return found


def _plain(attributes: Sequence[KeyValue]) -> dict[str, str]:
    return {each.key: each.value.string_value for each in attributes}


@contextmanager
def http_collector() -> Iterator[Collector]:
    """One that takes messages by HTTP. A status that is a redirect leads to itself."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.asked.append(f"{self.path} {self.headers['content-type']}")
            if collector.status == 200:
                answer = collector.take(wire.ExportMetricsServiceRequest.FromString(body)).SerializeToString()
            else:
                collector.turn_away()
                answer = b""
            self.send_response(collector.status)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("location", f"{collector.url}/elsewhere")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def grpc_collector(credentials: grpc.ServerCredentials | None = None) -> Iterator[Collector]:
    """One that takes messages by gRPC; with ``credentials`` by TLS as localhost."""
    collector = Collector()

    class Servicer(MetricsServiceServicer):  # type: ignore[misc]
        def Export(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - the protocol's name
            collector.asked.append("Export")
            if collector.status != 200:
                collector.turn_away()
                context.abort(grpc.StatusCode.UNAVAILABLE, "full for now")
            return collector.take(request)

    server = grpc.server(ThreadPoolExecutor(2))
    add_MetricsServiceServicer_to_server(Servicer(), server)
    if credentials is None:
        collector.url = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    else:
        collector.url = f"https://localhost:{server.add_secure_port('127.0.0.1:0', credentials)}"
    server.start()
    try:
        yield collector
    finally:
        server.stop(None).wait()
