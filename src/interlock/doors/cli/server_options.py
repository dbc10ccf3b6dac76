"""The options of all commands that serve, each written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Host = Annotated[
    str | None, typer.Option("--host", metavar="ADDRESS", help="Address to serve on (127.0.0.1).", show_default=False)
]
Port = Annotated[
    int | None,
    typer.Option("--port", metavar="PORT", min=0, max=65535, help="Port (8000); 0 picks one.", show_default=False),
]
Local = Annotated[
    bool | None,
    typer.Option("--local/--no-local", help="One developer, one machine: loopback only.", show_default=False),
]
AllowRemote = Annotated[
    bool,
    typer.Option("--local-allow-remote", help="Local mode may listen beyond loopback.", show_default=False),
]
Executor = Annotated[
    Literal["inline", "local", "ray"] | None,
    typer.Option("--executor", help="Where functions run (local).", show_default=False),
]
Sandbox = Annotated[
    str | None,
    typer.Option(
        "--sandbox",
        metavar="WALLS",
        help="Around users' code: bwrap, subprocess, none.",
        show_default=False,
        autocompletion=lambda: ["bwrap", "subprocess", "none"],
    ),
]
LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR"] | None,
    typer.Option("--log-level", help="Least level that is logged.", show_default=False, case_sensitive=False),
]
LogFile = Annotated[
    Path | None,
    typer.Option("--log-file", metavar="FILE", help="Log there, not to stdout.", show_default=False),
]
NoMetrics = Annotated[bool, typer.Option("--no-metrics", help="Tell no figures.", show_default=False)]
MetricsExporter = Annotated[
    str | None,
    typer.Option(
        "--metrics-exporter",
        metavar="NAMES",
        help="Who is told figures: prometheus, otlp, otlp_http, console.",
        show_default=False,
        autocompletion=lambda: ["prometheus", "otlp", "otlp_http", "console"],
    ),
]
MetricsEndpoint = Annotated[
    str | None,
    typer.Option("--metrics-endpoint", metavar="URL", help="The collector of otlp or otlp_http.", show_default=False),
]
