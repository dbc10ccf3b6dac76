"""Served processes send their figures, also the last ones, and take requests whatever becomes of that."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from collector_house import grpc_collector, http_collector
from interlock.backends.telemetry.prometheus import PrometheusTelemetry
from interlock.bootstrap.metrics import open_metrics
from interlock.config import Settings
from interlock.kit.clock import SystemClock
from interlock.kit.ids import RandomIds
from serving import Serving

LIVE = ("interlock_http_requests_total", frozenset({("route", "/live"), ("method", "GET"), ("status", "200")}))
LOST = "interlock_metrics_points_lost_total"
BY_GRPC = frozenset({("exporter", "otlp")})


async def test_each_process_sends_its_own_figures_and_the_last_ones_at_its_end(
    tmp_path: Path, own_database: Any
) -> None:
    with grpc_collector() as collector:
        collector.status = 503
        names = ("--metrics-exporter", "prometheus,otlp,console", "--metrics-endpoint", collector.url)
        options = ("--workers", "2", "--log-level", "WARNING", *names)
        server = Serving(tmp_path, own_database.serve_url, *options).ready()
        await asyncio.to_thread(collector.wait_refused, 2)
        async with server.client() as client:
            for _ in range(5):
                assert (await client.get("/live")).status_code == 200
            told = re.search(rf'^{LOST}{{exporter="otlp"}} (\S+)', (await client.get("/metrics")).text, re.MULTILINE)
        collector.status = 200
        assert await asyncio.to_thread(server.stop) == 0
    senders = {resource["service.instance.id"]: resource["process.pid"] for resource in collector.resources()}
    assert len(senders) == len(set(senders.values())) == 2
    assert sum(collector.last(instance).get(LIVE, 0) for instance in senders) == 5
    assert told is not None
    assert sum(collector.last(instance)[LOST, BY_GRPC] for instance in senders) == float(told[1]) > 0
    assert {resource["service.name"] for resource in collector.resources()} == {"interlock"}
    said = server.logged()
    assert set(re.findall(r"^# interlock (\S+) ", said, re.MULTILINE)) == set(senders)
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    warned = [line["reason"] for line in lines if line["event"] == "metrics.not_sent"]
    assert warned == ["UNAVAILABLE: full for now"] * 2, "once for each process"


async def test_by_http_the_last_figures_are_sent_at_the_end_too(tmp_path: Path) -> None:
    telemetry = PrometheusTelemetry("1")
    with http_collector() as collector:
        told = {"metrics_exporter": "otlp_http", "metrics_endpoint": collector.url}
        settings = Settings(_env_file=None, data_dir=tmp_path, **told)
        async with AsyncExitStack() as stack:
            open_metrics(settings, "1", telemetry, SystemClock(), RandomIds(), stack)
            await asyncio.to_thread(collector.wait, 1)
            telemetry.request_ended("/live", "GET", 200, 0.01)
        assert collector.last()[LIVE] == 1
