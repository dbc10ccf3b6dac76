"""Commands that run or prepare a server on this machine, and commands about this program itself."""

from __future__ import annotations

from importlib.metadata import version as version_of
from typing import Annotated, Literal

import typer
from typer._completion_shared import get_completion_script
from typer._completion_shared import install as install_completion

from interlock.doors.cli.calling import caller_of, carry_out, code_of
from interlock.doors.cli.failures import DONE, WrongUseError
from interlock.doors.cli.options import AsJson, DataDir
from interlock.doors.cli.output import Output
from interlock.doors.cli.programs import DemoOptions, SchemaReport, ServeOptions, UpOptions
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
from interlock.doors.cli.tables import checks_table

PROGRAM = "interlock"

Shell = Annotated[
    Literal["bash", "zsh", "fish", "powershell", "pwsh"],
    typer.Argument(metavar="SHELL", help="bash, zsh, fish or powershell.", show_default=False),
]


def up(
    context: typer.Context,
    host: Host = None,
    port: Port = None,
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
    """Run a whole server here, Postgres included.

    It serves in the foreground until Ctrl-C. A configured database is used instead of the embedded one.
    """
    options = UpOptions(
        host=host,
        port=port,
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
    carry_out(Output(as_json=as_json), lambda: caller_of(context).programs.up(options))


def serve(
    context: typer.Context,
    host: Host = None,
    port: Port = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", metavar="N", min=1, max=64, help="Processes on the port (1).", show_default=False),
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
    """Run one of many server processes over one Postgres."""
    options = ServeOptions(
        host=host,
        port=port,
        workers=workers,
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
    carry_out(Output(as_json=as_json), lambda: caller_of(context).programs.serve(options))


def demo(context: typer.Context, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Run the worked example from start to finish.

    It starts a server of its own, on a terminal asks for the approval, and saves the report it made.
    """
    options = DemoOptions(data_dir=data_dir, as_json=as_json)
    carry_out(Output(as_json=as_json), lambda: caller_of(context).programs.demo(options))


def migrate(
    context: typer.Context,
    action: Annotated[
        Literal["up", "status"], typer.Argument(metavar="up|status", help="Bring forward, or only look.")
    ] = "up",
    as_json: AsJson = False,
) -> None:
    """Bring the database's schema forward, or look at it.

    The exit code is 1 while the schema is behind.
    """
    caller, output = caller_of(context), Output(as_json=as_json)

    def work() -> int:
        report = caller.programs.migrate() if action == "up" else caller.programs.schema()
        output.json(report)
        for line in _schema_lines(report):
            output.line(line)
        return code_of(not report.pending)

    carry_out(output, work)


def _schema_lines(report: SchemaReport) -> list[str]:
    lines = [f"applied {name}" for name in report.applied] + [f"missing {name}" for name in report.pending]
    state = "is current" if not report.pending else "is behind; bring it forward with `interlock migrate up`"
    return [*lines, f"The schema is at {report.current} of {report.newest}: it {state}."]


def doctor(context: typer.Context, as_json: AsJson = False) -> None:
    """Check this machine and its settings.

    One thing after the other, each with its remedy.
    """
    caller, output = caller_of(context), Output(as_json=as_json)

    def work() -> int:
        checks = caller.programs.doctor()
        is_well = all(check.is_ok for check in checks)
        output.json({"ok": is_well, "checks": checks})
        output.show(checks_table(checks))
        return code_of(is_well)

    carry_out(output, work)


def token(
    context: typer.Context,
    data_dir: DataDir = None,
    rotates: Annotated[
        bool, typer.Option("--rotate", help="Make a new key first: all tokens of before end within 5 s.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print a token of the local user.

    It is for INTERLOCK_TOKEN or an Authorization header, and good for a day.
    """
    caller, output = caller_of(context), Output(as_json=as_json)

    def work() -> int:
        place = data_dir or caller.programs.environment().data_dir
        if rotates:
            caller.programs.rotate_token_key(place)
        made = caller.local_token(place)
        output.json({"token": made})
        output.line(made)
        return DONE

    carry_out(output, work)


def version(as_json: AsJson = False) -> None:
    """Print the version of this program."""
    output = Output(as_json=as_json)

    def work() -> int:
        found = version_of(PROGRAM)
        output.json({"name": PROGRAM, "version": found})
        output.line(f"{PROGRAM} {found}")
        return DONE

    carry_out(output, work)


def completion_show(shell: Shell, as_json: AsJson = False) -> None:
    """Print the completion script of a shell."""
    output = Output(as_json=as_json)

    def work() -> int:
        script = get_completion_script(prog_name=PROGRAM, complete_var=_COMPLETE_VARIABLE, shell=shell)
        output.json({"shell": shell, "script": script})
        output.line(script)
        return DONE

    carry_out(output, work)


def completion_install(
    shell: Annotated[
        Literal["bash", "zsh", "fish", "powershell", "pwsh"] | None,
        typer.Argument(metavar="SHELL", help="Default: the shell this runs in.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Install completion for a shell."""
    output = Output(as_json=as_json)

    def work() -> int:
        try:
            name, path = install_completion(shell=shell, prog_name=PROGRAM, complete_var=_COMPLETE_VARIABLE)
        except OSError as error:
            message = f"Completion cannot be installed: {error.strerror or error}"
            raise WrongUseError(message, step="Print the script with `interlock completion show SHELL`.") from error
        output.json({"shell": name, "path": str(path)})
        output.line(f"Completion for {name} is in {path}; it works in the next shell you open.")
        return DONE

    carry_out(output, work)


_COMPLETE_VARIABLE = "_INTERLOCK_COMPLETE"
