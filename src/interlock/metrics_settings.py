"""The settings about figures: whether there are any, and who is told of them."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, field_validator
from pydantic_settings import BaseSettings, NoDecode

Exporter = Literal["prometheus", "otlp", "otlp_http", "console"]
OTLP = frozenset(("otlp", "otlp_http"))
"""Those that send figures to an address."""
_ENDPOINTS = {"otlp": "http://localhost:4317", "otlp_http": "http://localhost:4318/v1/metrics"}


class MetricsSettings(BaseSettings):
    """A part of ``config.Settings``; nothing else reads the environment."""

    metrics_enabled: bool = Field(
        True,
        validation_alias=AliasChoices("INTERLOCK_METRICS_ENABLED", "METRICS_ENABLED"),
        description="Tell figures; without them /metrics is 404 and nothing is sent.",
    )
    metrics_exporter: Annotated[tuple[Exporter, ...], NoDecode] = Field(
        ("prometheus",),
        description="Who is told the figures: `prometheus`, which asks for them at /metrics; `otlp` (gRPC) and "
        "`otlp_http`, a collector of OpenTelemetry, each minute (they need the extra `otlp`); `console`, standard "
        "error, each minute.",
    )
    metrics_endpoint: str = Field(
        "",
        description=f"The collector's address; default {_ENDPOINTS['otlp']} for `otlp`, {_ENDPOINTS['otlp_http']} for "
        "`otlp_http`.",
    )

    @field_validator("metrics_exporter")
    @classmethod
    def _name_once(cls, value: tuple[Exporter, ...]) -> tuple[Exporter, ...]:
        return tuple(dict.fromkeys(value))

    @property
    def serves_metrics(self) -> bool:
        """Whether /metrics is there."""
        return self.metrics_enabled and "prometheus" in self.metrics_exporter

    @property
    def pushed_metrics(self) -> tuple[Exporter, ...]:
        """The exporters that send figures; none if there are no figures."""
        return tuple(name for name in self.metrics_exporter if name != "prometheus") if self.metrics_enabled else ()

    def metrics_url(self, exporter: str) -> str:
        """Where ``otlp`` or ``otlp_http`` sends figures. An address without a path means the usual one."""
        if not self.metrics_endpoint:
            return _ENDPOINTS[exporter]
        parts = urlsplit(self.metrics_endpoint)
        has_path = exporter == "otlp" or parts.path not in ("", "/")
        return self.metrics_endpoint if has_path else parts._replace(path="/v1/metrics").geturl()

    def metrics_problems(self) -> list[str]:
        """What is wrong with these settings together, one sentence each. A password is not repeated."""
        url, names = self.metrics_endpoint, set(self.metrics_exporter)
        if not url:
            return []
        if "@" in url:
            return ["INTERLOCK_METRICS_ENDPOINT holds credentials, which have no place in an address"]
        if not _is_address(url):
            return [f"INTERLOCK_METRICS_ENDPOINT={url}: is no address such as {_ENDPOINTS['otlp']}"]
        if names >= OTLP:
            return ["INTERLOCK_METRICS_ENDPOINT is one address, and `otlp` and `otlp_http` need two; leave one out"]
        if "otlp" in names and urlsplit(url).path not in ("", "/"):
            return [f"INTERLOCK_METRICS_ENDPOINT={url}: `otlp` takes no path; `otlp_http` does"]
        return []


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and not parts.fragment
    except ValueError:
        return False
