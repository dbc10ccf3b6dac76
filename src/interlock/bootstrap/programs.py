"""What the command line starts or asks for without HTTP."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
import tempfile
from contextlib import AsyncExitStack, nullcontext
from pathlib import Path
from typing import Any, TextIO

import structlog
import uvloop

from interlock.backends.schema.jsonschema_rs import JsonSchemas
from interlock.backends.store.postgres.migrate import migrate, status
from interlock.backends.telemetry.logs import configure
from interlock.bootstrap.access import read_configured_keys
from interlock.bootstrap.announce import announce
from interlock.bootstrap.checks import (
    is_exposed,
    missing_secrets,
    refuse_exposed,
    refuse_missing_secrets,
    takes_local_tokens,
)
from interlock.bootstrap.doctor import examine
from interlock.bootstrap.lifeline import end_with_input
from interlock.bootstrap.main import refusal_of, settings_or_refusal
from interlock.bootstrap.parts import Parts, embedded_postgres, make_data_dir, readable_address, server_role
from interlock.bootstrap.running import listed
from interlock.bootstrap.secrets import known_secrets
from interlock.bootstrap.server import serve
from interlock.bootstrap.workers import run_workers
from interlock.config import PREFIX, Settings, SettingsRefused
from interlock.config import examine as examine_settings
from interlock.core.definition import check_definition, read_definition
from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.workflow import Problem
from interlock.doors.cli.demo import demonstrate
from interlock.doors.cli.programs import (
    Check,
    DemoOptions,
    HeadOptions,
    SchemaReport,
    ServeOptions,
    ServerOptions,
    UpOptions,
)
from interlock.nodes import load as load_nodes

INTERRUPTED = 130
"""The exit code of what a person stopped."""

log = structlog.get_logger("bootstrap")


def up(options: UpOptions) -> int:
    """Serve in the foreground, with an embedded Postgres if none is configured."""
    settings = _settings_of(options)
    return _serve(settings, "up", embedded=settings.database_url is None, as_json=options.as_json)


def head(options: HeadOptions) -> int:
    """Serve in the foreground as the machine that workers join; in local mode with an embedded Postgres if need be."""
    settings = _settings_of(options, ray_head=True, ray_head_port=options.ray_head_port)
    embedded = settings.database_url is None and settings.local
    return _serve(settings, "start --head", embedded=embedded, as_json=options.as_json)


def serve_processes(options: ServeOptions) -> int:
    """Serve in the foreground over a configured Postgres, with as many processes as asked for."""
    settings = _settings_of(options)
    count = options.workers or 1
    if count > 1:
        _refuse_embedded(settings)
        configure_logs(settings, as_json=options.as_json)

        def on_ready(url: str, token: str) -> None:
            announce(url, token, settings, as_json=options.as_json, processes=count)

        make_data_dir(settings.data_dir)
        with listed(settings.data_dir, "serve", settings.shutdown_grace_seconds + 5):
            return run_workers(count, settings, on_ready, as_json=options.as_json)
    embedded = settings.database_url is None and settings.local
    if settings.ends_with_input:
        end_with_input(settings.shutdown_grace_seconds + 5)
    return _serve(settings, "serve", embedded=embedded, as_json=options.as_json)


def demo(options: DemoOptions) -> int:
    """Start a server on a free port and play the example on it."""
    temporary = Path(tempfile.mkdtemp(prefix="interlock-demo-")) if options.data_dir is None else None
    settings = settings_or_refusal(
        host="127.0.0.1",
        port=0,
        data_dir=options.data_dir or temporary,
        local=True,
        local_tokens=True,
        log_level="ERROR",
        access_log=False,
    )
    configure(settings.log_level, settings.log_format, file=settings.log_file, known=known_secrets(settings))
    try:
        return uvloop.run(_demonstrate(settings, as_json=options.as_json))
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def migrate_now(*, change: bool) -> SchemaReport:
    """Bring the schema forward, or look at it."""
    return asyncio.run(_migrate(settings_or_refusal(), change=change))


def doctor() -> list[Check]:
    """What a start needs, and whether it is there."""
    settings = settings_or_refusal()
    configure("ERROR", settings.log_format, known=known_secrets(settings))
    return asyncio.run(examine(settings))


def check_file(source: dict[str, Any]) -> list[Problem]:
    """Everything wrong with a definition in the native form."""
    definition, problems = read_definition(source)
    if definition is None:
        return problems
    types = load_nodes().types
    return problems + check_definition(definition, types, check_parameters=JsonSchemas(types).check_parameters)


def server_settings(**given: Any) -> Settings:
    """The settings of a server. Raises RULE with all that is wrong with them, also with keys and missing secrets."""
    try:
        settings, problems = examine_settings(**given)
    except SettingsRefused as refused:
        raise refusal_of(refused.problems) from refused
    try:
        read_configured_keys(settings)
    except InterlockError as error:
        problems.append(error.message)
    if problems:
        named = {re.split(r"[ =:]", problem)[0].removeprefix(PREFIX) for problem in problems}
        missing = [text for text in missing_secrets(settings) if text.split()[0].removeprefix(PREFIX) not in named]
        raise refusal_of([*problems, *missing])
    refuse_missing_secrets(settings)
    return settings


def _settings_of(options: ServerOptions, **more: Any) -> Settings:
    settings = server_settings(
        host=options.host,
        port=options.port,
        data_dir=options.data_dir,
        local=options.is_local,
        local_allow_remote=options.allows_remote,
        executor=options.executor,
        sandbox=options.sandbox,
        log_level=options.log_level,
        log_file=options.log_file,
        metrics_enabled=options.has_metrics,
        metrics_exporter=options.metrics_exporter,
        metrics_endpoint=options.metrics_endpoint,
        **more,
    )
    refuse_exposed(settings)
    return settings


def _serve(settings: Settings, command: str, *, embedded: bool, as_json: bool) -> int:
    configure_logs(settings, as_json=as_json)
    make_data_dir(settings.data_dir)

    def on_ready(url: str, parts: Parts) -> None:
        is_told_by_program = as_json or settings.ends_with_input  # to the one that started several
        is_shown = settings.local and takes_local_tokens(settings)  # elsewhere standard output is a log
        announce(url, parts.identity.mint() if is_shown else "", settings, as_json=is_told_by_program)

    # Of several processes the one that started them is noted: it will end them.
    with (
        nullcontext()
        if settings.ends_with_input
        else listed(settings.data_dir, command, settings.shutdown_grace_seconds)
    ):
        uvloop.run(serve(settings, embedded=embedded, on_ready=on_ready))
    return 0


def configure_logs(settings: Settings, *, as_json: bool = False) -> None:
    """Log as the settings say, and begin with what deserves a warning; of several processes the first one says it.

    Servers log to standard output, but where that is to hold one answer for a program. Raises RULE for a log file that
    cannot be written.
    """
    stream = sys.stderr if as_json else sys.stdout
    try:
        configure(
            settings.log_level,
            settings.log_format,
            stream=stream,
            file=settings.log_file,
            known=known_secrets(settings),
            has_marks=_has_marks(settings, stream),
        )
    except OSError as error:
        raise InterlockError(
            ErrorKind.RULE,
            "SETTINGS_LOG_FILE",
            f"The log cannot be written to {settings.log_file}: {error.strerror}",
            details={"next": "Name a file that can be written with INTERLOCK_LOG_FILE, or leave it out."},
        ) from error
    if settings.open_walls and not settings.share_port:
        log.warning("settings.ignored", names=",".join(settings.open_walls), meaning="these walls have no switch")
    if is_exposed(settings) and not settings.share_port:
        log.warning(
            "local.exposed",
            host=settings.host,
            names=",".join(("localhost", *settings.trusted_hosts)),
            meaning="other machines can reach this server, and local mode asks for no credentials; requests by another "
            "name than these are refused, INTERLOCK_TRUSTED_HOSTS adds names",
        )


def _has_marks(settings: Settings, stream: TextIO) -> bool:
    return stream.isatty() and settings.log_file is None if settings.log_emoji is None else settings.log_emoji


def _refuse_embedded(settings: Settings) -> None:
    """Several processes share a database that none of them brings along."""
    if settings.database_url is None:
        raise InterlockError(
            ErrorKind.RULE,
            "SETTINGS_DATABASE_MISSING",
            "Several processes need one database that all of them reach, and none is set",
            details={"next": "Set INTERLOCK_DATABASE_URL, or leave --workers out."},
        )


async def _demonstrate(settings: Settings, *, as_json: bool) -> int:
    stop = asyncio.Event()
    ready: asyncio.Future[tuple[str, str]] = asyncio.get_running_loop().create_future()

    def on_ready(url: str, parts: Parts) -> None:
        ready.set_result((url, parts.identity.mint()))

    serving = asyncio.create_task(serve(settings, embedded=True, on_ready=on_ready, stop=stop))
    try:
        either: set[asyncio.Future[Any]] = {serving, ready}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            await serving  # raises what went wrong
            return 1
        url, token = ready.result()
        playing = asyncio.create_task(demonstrate(url, token, as_json=as_json))
        await asyncio.wait({playing, serving}, return_when=asyncio.FIRST_COMPLETED)
        if playing.done():
            return playing.result()
        playing.cancel()  # the server was told to stop: Ctrl-C
        await asyncio.gather(playing, return_exceptions=True)
        return INTERRUPTED
    finally:
        stop.set()
        await serving


async def _migrate(settings: Settings, *, change: bool) -> SchemaReport:
    """Of the configured database as its owner, or of the embedded one."""
    async with AsyncExitStack() as stack:
        if settings.migrate_database_url is not None:
            url = settings.migrate_database_url.get_secret_value()
        elif settings.database_url is not None and not change:
            url = settings.database_url.get_secret_value()
        elif settings.database_url is not None:
            raise InterlockError(
                ErrorKind.RULE,
                "SETTINGS_MIGRATE_URL_MISSING",
                "The schema is changed by the database's owner, and no login of it is set",
                details={"next": "Set INTERLOCK_MIGRATE_DATABASE_URL; `interlock migrate status` needs no owner."},
            )
        else:
            database = embedded_postgres(settings)
            urls = await database.start()
            stack.push_async_callback(database.stop)
            url = urls.migrate_url
        with readable_address():
            applied = await migrate(url, server_role(settings)) if change else []
            found = await status(url)
        return SchemaReport(
            current=len(found.applied),
            newest=len(found.applied) + len(found.pending),
            applied=tuple(applied),
            pending=tuple(found.pending),
        )
