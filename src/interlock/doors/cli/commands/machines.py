"""Commands for the machines of an installation: one that others join, those that join it, and their end."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from interlock.doors.cli.calling import caller_of, carry_out, carry_out_async, code_of
from interlock.doors.cli.failures import WrongUseError
from interlock.doors.cli.joining import STOP_SECONDS, Joining
from interlock.doors.cli.options import AsJson, DataDir
from interlock.doors.cli.output import Output
from interlock.doors.cli.programs import HeadOptions, JoinedNode, JoinOptions, Stopped
from interlock.doors.cli.server import host_of_url, read_head
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

GRACE = 15.0
_OF_HEADS = frozenset(
    {"host", "port", "ray_head_port", "is_local", "allows_remote", "executor", "sandbox", "log_level", "log_file"}
    | {"no_metrics", "metrics_exporter", "metrics_endpoint"}
)
_OF_WORKERS = frozenset({"addr", "node_ip", "num_cpus", "num_gpus", "memory", "auth_file", "grace"})
_OUTCOMES = {
    "stopped": "was told to stop and has ended.",
    "killed": "did not end in time and was killed.",
    "gone": "had ended already.",
}


RayHeadPort = Annotated[
    int | None,
    typer.Option(
        "--ray-head-port", metavar="PORT", min=1, max=65535, help="Port of Ray's head (6379).", show_default=False
    ),
]
Addr = Annotated[
    str | None,
    typer.Option("--addr", metavar="HOST:PORT", help="Head to join; default: as --url.", show_default=False),
]
NodeAddress = Annotated[
    str | None,
    typer.Option("--node-ip", metavar="ADDRESS", help="This machine's, as the head sees it.", show_default=False),
]
NumCpus = Annotated[
    int | None, typer.Option("--num-cpus", metavar="N", min=0, help="Cores for tasks (all).", show_default=False)
]
NumGpus = Annotated[
    int | None, typer.Option("--num-gpus", metavar="N", min=0, help="GPUs for tasks (all).", show_default=False)
]
Memory = Annotated[
    int | None, typer.Option("--memory", metavar="MIB", min=1, help="Memory for tasks.", show_default=False)
]
AuthFile = Annotated[
    Path | None,
    typer.Option(
        "--auth-file",
        metavar="FILE",
        help="Copy of the head's file ray/token; else RAY_AUTH_TOKEN_PATH.",
        show_default=False,
    ),
]
Grace = Annotated[
    float,
    typer.Option("--grace", metavar="SECONDS", min=0, max=86_400, help="How long tasks may run on at its end."),
]


def start(
    context: typer.Context,
    is_head: Annotated[
        bool, typer.Option("--head", help="Serve, as the machine that others join.", show_default=False)
    ] = False,
    is_worker: Annotated[
        bool, typer.Option("--worker", help="Work for a head, at --addr.", show_default=False)
    ] = False,
    host: Host = None,
    port: Port = None,
    ray_head_port: RayHeadPort = None,
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
    addr: Addr = None,
    node_ip: NodeAddress = None,
    num_cpus: NumCpus = None,
    num_gpus: NumGpus = None,
    memory: Memory = None,
    auth_file: AuthFile = None,
    grace: Grace = GRACE,
    as_json: AsJson = False,
) -> None:
    """Make this machine a head or a worker.

    A head is the same server as `serve`; with --executor ray it brings a Ray that workers can join. A worker
    joins that Ray and runs tasks; `worker join` is the same. Options from --addr on are a worker's.
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
    output = Output(as_json=as_json)
    if is_worker and not is_head:
        wanted = JoinOptions(
            host="",
            port=0,
            address=node_ip,
            data_dir=data_dir,
            auth_file=auth_file,
            num_cpus=num_cpus,
            num_gpus=num_gpus,
            memory=memory,
        )
        _work_for(context, addr, wanted, grace, output)

    def work() -> int:
        if not is_head or is_worker:
            raise WrongUseError("Say what this machine is to be.", step="Add --head to serve, or --worker to join one.")
        _refuse(context, _OF_WORKERS, "A head has no")
        return caller_of(context).programs.head(options)

    carry_out(output, work)


def join(
    context: typer.Context,
    addr: Addr = None,
    data_dir: DataDir = None,
    node_ip: NodeAddress = None,
    num_cpus: NumCpus = None,
    num_gpus: NumGpus = None,
    memory: Memory = None,
    auth_file: AuthFile = None,
    grace: Grace = GRACE,
    as_json: AsJson = False,
) -> None:
    """Have this machine work for a head, until Ctrl-C.

    It joins the Ray of the head, and is announced there as a worker.
    """
    wanted = JoinOptions(
        host="",
        port=0,
        address=node_ip,
        data_dir=data_dir,
        auth_file=auth_file,
        num_cpus=num_cpus,
        num_gpus=num_gpus,
        memory=memory,
    )
    _work_for(context, addr, wanted, grace, Output(as_json=as_json))


def _refuse(context: typer.Context, names: frozenset[str], told: str) -> None:
    """Raise WrongUseError for options of these names that were given: they would do nothing."""
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name in names and source is not None and source.name == "COMMANDLINE":
            raise WrongUseError(
                f"{told} {parameter.opts[0]}.", step="Leave it out; --help says whose options are which."
            )


def _work_for(context: typer.Context, addr: str | None, wanted: JoinOptions, grace: float, output: Output) -> None:
    """Join the head at ``addr`` and leave with the exit code of that."""
    caller = caller_of(context)

    async def work() -> int:
        _refuse(context, _OF_HEADS, "A worker has no")
        async with caller.server(addr if addr is None else read_head(addr), door="") as head:
            at = host_of_url(head.url)

            def join_at(port: int) -> Awaitable[JoinedNode]:
                return caller.programs.join(replace(wanted, host=at, port=port))

            with caller.programs.working(wanted.data_dir, grace + STOP_SECONDS):
                return await Joining(head, join_at, output, grace).run()

    carry_out_async(output, work)


def stop(context: typer.Context, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Stop what was started here.

    Every server and worker that was started with the data directory is told to end, and waited for.
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
