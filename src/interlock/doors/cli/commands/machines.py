"""Commands for the machines of an installation: one that others join, those that join it, and their end."""

from __future__ import annotations

from typing import Annotated

import typer

from interlock.doors.cli.calling import caller_of, carry_out, code_of
from interlock.doors.cli.failures import WrongUseError
from interlock.doors.cli.options import AsJson, DataDir
from interlock.doors.cli.output import Output
from interlock.doors.cli.programs import HeadOptions, Stopped
from interlock.doors.cli.server_options import (
    AllowRemote,
    Executor,
    Host,
    Local,
    LogFile,
    LogLevel,
    MetricsEndpoint,
    MetricsExporter,
    NoMetrics,
    Port,
    Sandbox,
)

_OUTCOMES = {
    "stopped": "was told to stop and has ended.",
    "killed": "did not end in time and was killed.",
    "gone": "had ended already.",
}


def start(
    context: typer.Context,
    is_head: Annotated[
        bool, typer.Option("--head", help="Serve, as the machine that others join.", show_default=False)
    ] = False,
    host: Host = None,
    port: Port = None,
    ray_head_port: Annotated[
        int | None,
        typer.Option(
            "--ray-head-port",
            metavar="PORT",
            min=1,
            max=65535,
            help="Where Ray listens for workers (6379).",
            show_default=False,
        ),
    ] = None,
    data_dir: DataDir = None,
    is_local: Local = None,
    allows_remote: AllowRemote = False,
    executor: Executor = None,
    sandbox: Sandbox = None,
    log_level: LogLevel = None,
    log_file: LogFile = None,
    no_metrics: NoMetrics = False,
    metrics_exporter: MetricsExporter = None,
    metrics_endpoint: MetricsEndpoint = None,
    as_json: AsJson = False,
) -> None:
    """Serve as the machine that others join.

    The same server as `serve`; with `--executor ray` it brings a Ray that workers can join.
    """
    options = HeadOptions(
        host=host,
        port=port,
        ray_head_port=ray_head_port,
        data_dir=data_dir,
        is_local=is_local,
        allows_remote=allows_remote or None,
        executor=executor,
        sandbox=sandbox,
        log_level=log_level,
        log_file=log_file,
        has_metrics=False if no_metrics else None,
        metrics_exporter=metrics_exporter,
        metrics_endpoint=metrics_endpoint,
        as_json=as_json,
    )

    def work() -> int:
        if not is_head:
            raise WrongUseError("Say what this machine is to be.", step="Add --head to serve.")
        return caller_of(context).programs.head(options)

    carry_out(Output(as_json=as_json), work)


def stop(context: typer.Context, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Stop what this machine serves.

    Every server that was started with the data directory is told to end, and waited for.
    """
    output = Output(as_json=as_json)

    def work() -> int:
        stopped = caller_of(context).programs.stop(data_dir)
        output.json({"stopped": stopped})
        for each in stopped:
            output.line(_told(each))
        if not stopped:
            output.line("Nothing of this data directory runs.")
        return code_of(all(each.outcome != "killed" for each in stopped))

    carry_out(output, work)


def _told(stopped: Stopped) -> str:
    return f"interlock {stopped.command} (process {stopped.pid}) {_OUTCOMES[stopped.outcome]}"
