"""Who is sent the figures: what the settings may say, and what stops the start."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from interlock.backends.telemetry.prometheus import PrometheusTelemetry
from interlock.bootstrap import metrics
from interlock.bootstrap.metrics import open_metrics
from interlock.config import Settings
from interlock.core.errors import InterlockError
from interlock.kit.clock import SystemClock
from interlock.kit.ids import RandomIds


def settings(exporters: str, endpoint: str = "", **given: Any) -> Settings:
    told = {"data_dir": Path("/nowhere"), "metrics_exporter": exporters, "metrics_endpoint": endpoint}
    return Settings(_env_file=None, **told, **given)


async def opened(given: Settings) -> None:
    async with AsyncExitStack() as stack:
        open_metrics(given, "1", PrometheusTelemetry("1"), SystemClock(), RandomIds(), stack)


@pytest.mark.parametrize(
    ("exporter", "endpoint", "url"),
    [
        ("otlp", "", "http://localhost:4317"),
        ("otlp_http", "", "http://localhost:4318/v1/metrics"),
        ("otlp_http", "https://collector.example", "https://collector.example/v1/metrics"),
        ("otlp_http", "https://collector.example/otlp?a=b", "https://collector.example/otlp?a=b"),
        ("otlp", "https://[::1]:4317", "https://[::1]:4317"),
    ],
)
def test_figures_go_to_the_usual_place_unless_another_one_is_named(exporter: str, endpoint: str, url: str) -> None:
    assert settings(exporter, endpoint).metrics_problems() == []
    assert settings(exporter, endpoint).metrics_url(exporter) == url


@pytest.mark.parametrize(
    ("exporters", "endpoint", "said"),
    [
        ("otlp", "localhost:4317", "=localhost:4317: is no address"),
        ("otlp", "http://h:70000", "is no address"),
        ("otlp_http", "ftp://h/x", "is no address"),
        ("otlp_http", "https://ann:pass@h/x", "holds credentials"),
        ("otlp,otlp_http", "http://h", "need two"),
        ("otlp", "http://h:4317/v1/metrics", "takes no path"),
    ],
)
def test_an_address_that_cannot_be_used_is_named(exporters: str, endpoint: str, said: str) -> None:
    (problem,) = settings(exporters, endpoint).metrics_problems()
    assert problem.startswith("INTERLOCK_METRICS_ENDPOINT")
    assert said in problem
    assert "pass@" not in problem


def test_without_figures_nobody_is_sent_any() -> None:
    off = settings("prometheus,otlp,console", metrics_enabled=False)
    assert (off.serves_metrics, off.pushed_metrics) == (False, ())
    assert settings("otlp,otlp,prometheus").pushed_metrics == ("otlp",)
    assert not settings("console").serves_metrics


async def test_a_protocol_that_is_not_installed_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "find_spec", lambda name: None)
    with pytest.raises(InterlockError) as refused:
        await opened(settings("prometheus,otlp"))
    assert "names otlp," in refused.value.message
    assert "interlock[otlp]" in str(refused.value.details["next"])
    await opened(settings("prometheus"))


async def test_an_address_that_nothing_is_sent_to_is_said() -> None:
    with capture_logs() as lines:
        await opened(settings("prometheus", "http://h:4317"))
    assert [(line["event"], line["names"]) for line in lines] == [("settings.ignored", "INTERLOCK_METRICS_ENDPOINT")]
