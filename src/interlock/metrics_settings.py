"""The settings about figures: whether there are any, and who is told of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, NoDecode

Exporter = Literal["prometheus"]


class MetricsSettings(BaseSettings):
    """A part of ``config.Settings``; nothing else reads the environment."""

    metrics_enabled: bool = Field(
        True,
        validation_alias=AliasChoices("INTERLOCK_METRICS_ENABLED", "METRICS_ENABLED"),
        description="Serve /metrics.",
    )
    metrics_exporter: Annotated[tuple[Exporter, ...], NoDecode] = Field(
        ("prometheus",), description="Who is told the figures: `prometheus`, which asks for them at /metrics."
    )
    metrics_endpoint: str = Field("", description="Where figures are sent, for exporters that send them.")
