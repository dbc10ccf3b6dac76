"""Who plugs what into what: all parts of one server process, started in order and stopped in reverse."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from urllib.parse import unquote, urlsplit

import structlog

from interlock.backends.egress.client import GuardedEgress
from interlock.backends.executor.batching import BatchingExecutor
from interlock.backends.executor.inline import InlineExecutor
from interlock.backends.executor.logged import LoggedExecutor
from interlock.backends.executor.pool.executor import PoolExecutor
from interlock.backends.identity.local import LocalIdentity
from interlock.backends.schema.jsonschema_rs import JsonSchemas
from interlock.backends.store.embedded import EmbeddedPostgres
from interlock.backends.store.postgres.ledger import PostgresLedger
from interlock.backends.store.postgres.migrate import migrate, status
from interlock.backends.store.postgres.references import PostgresReferences
from interlock.backends.store.postgres.store import PostgresStore
from interlock.backends.store.postgres.task_log import PostgresTaskLog
from interlock.backends.telemetry.prometheus import PrometheusTelemetry
from interlock.bootstrap.access import key_finder, open_access, open_access_store
from interlock.bootstrap.blobs import open_blobs, try_blobs
from interlock.bootstrap.checks import refuse_missing_secrets, refuse_private_blobs, refuse_unsafe
from interlock.bootstrap.identity import open_identities
from interlock.bootstrap.metrics import open_metrics
from interlock.bootstrap.models import open_models
from interlock.bootstrap.placing import open_placing
from interlock.bootstrap.ray import open_ray, place_here
from interlock.bootstrap.sandbox import children_of, open_sandbox
from interlock.bootstrap.secrets import open_secrets
from interlock.bootstrap.shared import open_bus, open_limits
from interlock.bootstrap.webhooks import audit_disabled, keep_sealed, open_webhooks, prepare_calls, start_relay
from interlock.config import Settings, child_environment
from interlock.core.errors import ErrorKind, InterlockError
from interlock.kit import failpoints
from interlock.kit.clock import SystemClock
from interlock.kit.ids import RandomIds
from interlock.nodes import load as load_nodes
from interlock.ports.executor import Executor
from interlock.ports.secrets import Secrets
from interlock.runtime.engine import LocalEngine
from interlock.runtime.following import no_machines
from interlock.runtime.sweeping import Sweeping
from interlock.services.bundle import Services, build_services
from interlock.services.limits import CountRequests
from interlock.services.workers.bundle import build_workers

VERSION = installed_version("interlock")
SERVER_ROLE = "interlock_server"
NODES = "interlock.nodes:load"
log = structlog.get_logger("bootstrap")


@dataclass(frozen=True)
class Parts:
    """A running server without its HTTP port."""

    settings: Settings
    services: Services
    engine: LocalEngine
    identity: LocalIdentity
    telemetry: PrometheusTelemetry
    clock: SystemClock
    ids: RandomIds
    secrets: Secrets
    limits: CountRequests
    sandbox: str


async def start_parts(settings: Settings, stack: AsyncExitStack, *, embedded: bool) -> Parts:
    """Start everything; ``stack`` stops it. Raises InterlockError with what to do if something is missing or unsafe."""
    _arm(settings)
    refuse_missing_secrets(settings)
    refuse_private_blobs(settings, embedded=embedded)
    make_data_dir(settings.data_dir)
    serve_url = await open_database(settings, stack, embedded=embedded)
    clock, ids = SystemClock(), RandomIds()
    secrets = open_secrets(settings, clock)
    telemetry = PrometheusTelemetry(VERSION)
    open_metrics(settings, VERSION, telemetry, clock, ids, stack)
    registry = load_nodes()
    schemas = JsonSchemas(registry.types)

    store = PostgresStore(serve_url, connections=settings.database_pool_size)
    await store.open()
    stack.push_async_callback(store.close)
    ledger = PostgresLedger(serve_url)
    await ledger.open()
    stack.push_async_callback(ledger.close)
    refuse_unsafe(await ledger.settings(), allow_unsafe_commit=settings.allow_unsafe_commit)

    blobs = open_blobs(settings, ledger.connection, clock, stack, embedded=embedded)
    try_blobs(blobs, stack)
    sweeping = Sweeping(blobs, PostgresReferences(ledger.connection), clock)
    sweeping.start()
    stack.push_async_callback(sweeping.stop)
    bus = await open_bus(settings, stack, serve_url=serve_url, ids=ids)
    limits = await open_limits(settings, stack, clock=clock, count_replicas=ledger.count_runners)
    allow = settings.egress_allow or (("loopback",) if settings.local else ())
    egress = GuardedEgress(allow)
    stack.push_async_callback(egress.close)
    to_providers = GuardedEgress(allow)  # of its own: what tenants call must not hold up look-ups of providers
    stack.push_async_callback(to_providers.close)

    webhooks = await open_webhooks(serve_url, allow, secrets, clock, telemetry, stack)
    access_store = await open_access_store(serve_url, stack)
    find_key = key_finder(settings, access_store)
    models = await open_models(
        settings,
        stack,
        url=serve_url,
        egress=to_providers,
        clock=clock,
        ids=ids,
        find_key=find_key,
        telemetry=telemetry,
    )
    inline = InlineExecutor(
        registry,
        egress,
        blobs,
        trusted=registry.shipped,
        on_stall=telemetry.loop_stalled,
        webhooks=prepare_calls(webhooks, settings, clock),
        models=models.for_tasks,
    )
    pool = PoolExecutor(
        NODES, egress, blobs, size=children_of(settings, settings.process_workers), environment=child_environment()
    )
    task_log = PostgresTaskLog(ledger.connection)
    stack.push_async_callback(task_log.close)
    sandbox = open_sandbox(settings, ledger.connection, secrets, egress, blobs, task_log)
    keep_sealed(sandbox.shelf.reseal, stack)
    ray = open_ray(
        settings,
        registry=NODES,
        version=VERSION,
        serve_url=serve_url,
        egress=egress,
        blobs=blobs,
        code=sandbox.shelf,
        walls=sandbox.executor.walls,
        task_log=task_log,
        ids=ids,
        stack=stack,
    )
    reaches = ray["ray"].reaches if ray else None
    placing = open_placing(settings, clock, telemetry)
    for each in ray.values():
        place_here(each, placing)
    executors: dict[str, Executor] = {"process": pool, "sandbox": sandbox.executor, **ray}
    engine = LocalEngine(
        name=f"embedded:{settings.data_dir.resolve()}" if embedded else f"serve:{os.uname().nodename}:{os.getpid()}",
        ledger=ledger,
        blobs=blobs,
        bus=bus,
        executors={"inline": inline}
        | {name: BatchingExecutor(LoggedExecutor(each, task_log), task_log) for name, each in executors.items()},
        catalogue=registry.types,
        clock=clock,
        ids=ids,
        telemetry=telemetry,
        slots=settings.slots,
        tenant_cap=settings.tenant_cap,
        tenant_queue=settings.tenant_queue,
        placing=placing,
        books=ledger,
        reaches=reaches,
        machines=ray["ray"].machines if ray else no_machines,
        replaces_namesakes=embedded,
    )
    await engine.open()
    stack.push_async_callback(engine.close, settings.shutdown_grace_seconds / 2)
    telemetry.lattice.count_running(lambda: engine.runner.graphs_with_places)
    identity = LocalIdentity(settings.data_dir, clock)
    identities = open_identities(settings, identity, serve_url, clock, ids, stack, secrets)
    access = await open_access(
        settings,
        stack,
        access_store=access_store,
        store=store,
        tokens=identities.identity,
        secrets=secrets,
        clock=clock,
        ids=ids,
    )
    await start_relay(webhooks, ledger, egress, clock, stack, audit_disabled(access.audit, clock, ids))
    services = build_services(
        store=store,
        engine=engine,
        bus=bus,
        blobs=blobs,
        access=access,
        directory=identities.directory,
        models=models,
        registry=registry,
        clock=clock,
        ids=ids,
        check_parameters=schemas.check_parameters,
        check_value=schemas.check_value,
        session_idle_seconds=settings.session_idle_seconds,
        webhooks=webhooks,
        save_code=sandbox.save_code,
        workers=build_workers(ledger, placing, clock, reaches),
        places=placing,
        is_ready=lambda: all(executor.is_ready for executor in ray.values()),
        executor_state=lambda: ray["ray"].state if ray else "ready",
    )
    walls = sandbox.executor.walls.name
    return Parts(settings, services, engine, identity, telemetry, clock, ids, secrets, limits, walls)


def _arm(settings: Settings) -> None:
    """Set the failpoints of a fault test. Raises RULE for one that does not exist."""
    try:
        failpoints.arm(settings.failpoints)
    except ValueError as error:
        raise InterlockError(
            ErrorKind.RULE,
            "SETTINGS_FAILPOINTS",
            f"INTERLOCK_FAILPOINTS cannot be used: {error}",
            details={"next": "Leave it out; it is for fault tests only."},
        ) from error


async def open_database(settings: Settings, stack: AsyncExitStack, *, embedded: bool) -> str:
    """The address to serve from: the configured database, or the embedded one, migrated."""
    if settings.database_url is not None:
        url = settings.database_url.get_secret_value()
        if settings.migrate_database_url is not None and settings.local:
            with readable_address():
                await migrate(settings.migrate_database_url.get_secret_value(), server_role(settings))
        await refuse_old_schema(url)
        return url
    if not embedded:
        raise InterlockError(
            ErrorKind.RULE,
            "SETTINGS_DATABASE_MISSING",
            "There is no database to serve from",
            details={"next": "Set INTERLOCK_DATABASE_URL, or bring a Postgres along with `interlock up` or --local."},
        )
    database = embedded_postgres(settings)
    urls = await database.start()
    stack.push_async_callback(database.stop)
    for name in await migrate(urls.migrate_url, SERVER_ROLE):
        log.info("database.migrated", migration=name)
    return urls.serve_url


def make_data_dir(place: Path) -> None:
    """Make the data directory if it is not there. Raises UNAVAILABLE if that cannot be."""
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise InterlockError(
            ErrorKind.UNAVAILABLE,
            "DATA_DIRECTORY_UNUSABLE",
            f"The data directory {place} cannot be made: {error.strerror}",
        ) from error


@contextmanager
def readable_address() -> Iterator[None]:
    """What the database's client cannot read in an address becomes a sentence."""
    try:
        yield
    except ValueError as error:
        raise InterlockError(
            ErrorKind.RULE,
            "SETTINGS_DATABASE_URL",
            f"The address of the database cannot be used: {error}",
            details={"next": "Mend INTERLOCK_DATABASE_URL, or INTERLOCK_MIGRATE_DATABASE_URL if that one is used."},
        ) from error


def server_role(settings: Settings) -> str:
    """The role that serves: the user of the serving address, or the embedded database's own."""
    if settings.database_url is None:
        return SERVER_ROLE
    user = urlsplit(settings.database_url.get_secret_value()).username
    return unquote(user) if user else SERVER_ROLE


def embedded_postgres(settings: Settings) -> EmbeddedPostgres:
    """The Postgres of the data directory."""
    return EmbeddedPostgres(settings.data_dir / "postgres", bindir=settings.pg_bindir)


async def refuse_old_schema(url: str) -> None:
    """Raise if the database's schema is older than this program."""
    with readable_address():
        found = await status(url)
    if found.pending:
        raise InterlockError(
            ErrorKind.RULE,
            "SCHEMA_BEHIND",
            f"The schema of the database is behind; it lacks {', '.join(found.pending)}",
            details={"next": "Run `interlock migrate up` with INTERLOCK_MIGRATE_DATABASE_URL set to its owner."},
        )
