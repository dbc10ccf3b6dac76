"""A whole server in this process: the real engine over the real Postgres, reached through ASGI."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from starlette.types import ASGIApp

from doors.tempo_house import Tempo
from interlock.backends.blobs.postgres import PostgresBlobs
from interlock.backends.bus.postgres import PostgresBus
from interlock.backends.egress.client import GuardedEgress
from interlock.backends.egress.stored import StoredUrls
from interlock.backends.executor.batching import BatchingExecutor
from interlock.backends.executor.inline import InlineExecutor
from interlock.backends.executor.logged import LoggedExecutor
from interlock.backends.executor.sandbox.executor import SandboxExecutor
from interlock.backends.executor.sandbox.walls import find_walls
from interlock.backends.identity.local import LOCAL_SCOPES, LocalIdentity
from interlock.backends.limiter.memory import MemoryLimiter
from interlock.backends.schema.jsonschema_rs import JsonSchemas
from interlock.backends.secrets.aes_gcm import AesGcmSecrets
from interlock.backends.secrets.given_keys import GivenKeys
from interlock.backends.store.postgres.access import PostgresAccess
from interlock.backends.store.postgres.code_shelf import PostgresCodeShelf
from interlock.backends.store.postgres.connection import connect_as_server
from interlock.backends.store.postgres.ledger import PostgresLedger
from interlock.backends.store.postgres.store import PostgresStore
from interlock.backends.store.postgres.task_log import PostgresTaskLog
from interlock.backends.telemetry.prometheus import PrometheusTelemetry
from interlock.bootstrap.webhooks import audit_disabled, open_webhooks, start_relay
from interlock.core.limits import LimitTable
from interlock.doors.http.app_factory import build_app
from interlock.doors.http.plumbing.context import Context, DoorSeats, Drain
from interlock.doors.http.plumbing.limits import Limits
from interlock.doors.http.plumbing.settings import HttpSettings
from interlock.kit.clock import SystemClock
from interlock.kit.ids import RandomIds
from interlock.nodes import load as load_nodes
from interlock.runtime.engine import LocalEngine
from interlock.runtime.webhook_calls import PrepareWebhookCalls
from interlock.services.access.audit import AuditLog
from interlock.services.access.bundle import build_access
from interlock.services.bundle import Services, build_services
from interlock.services.code.save import SaveCode
from interlock.services.limits import CountRequests
from interlock.services.workers.bundle import build_workers

BASE = "http://127.0.0.1:8000"


@dataclass(frozen=True)
class House:
    """The parts of the server that tests talk to."""

    services: Services
    identity: LocalIdentity
    telemetry: PrometheusTelemetry
    clock: SystemClock
    ids: RandomIds
    egress: GuardedEgress
    check_url: StoredUrls
    access_store: PostgresAccess
    store: PostgresStore

    def context(self, limits: dict[str, str] | None = None, **settings: Any) -> Context:
        """A context with its own settings over the same services."""
        told = HttpSettings(**{"version": "0.0.test", "environment": "local", "is_local": True, **settings})
        return Context(
            services=self.services,
            settings=told,
            telemetry=self.telemetry,
            clock=self.clock,
            ids=self.ids,
            drain=Drain(),
            seats=DoorSeats(told, self.telemetry, self.services.access.seats),
            limits=self.limits(told, limits or {}),
        )

    def limits(self, settings: HttpSettings, changes: dict[str, str]) -> Limits:
        """Limits of a server of its own; public ones outside local mode only."""
        table = LimitTable(changes, is_local=settings.is_local, limits_public=not settings.is_local)
        return Limits(CountRequests(table, MemoryLimiter(self.clock)), self.clock)

    def app(self, **settings: Any) -> ASGIApp:
        """The whole server, with its own settings."""
        return build_app(self.context(**settings), self.telemetry.expose)

    def app_with_log(self) -> tuple[ASGIApp, AuditLog]:
        """The whole server with an audit log of its own, in which strangers of other tests take no room."""
        log = AuditLog(self.access_store, self.store, self.clock)
        services = replace(self.services, access=replace(self.services.access, audit=log))
        return build_app(replace(self.context(), services=services), self.telemetry.expose), log

    def mint(self, caller: Caller, seconds: float) -> str:
        """A further token of a caller, with its own life."""
        return self.identity.mint(caller.subject, caller.tenant_id, LOCAL_SCOPES, timedelta(seconds=seconds))


@pytest.fixture(scope="session")
async def house(database: Any, store: PostgresStore, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """One server for all door tests of a session; each test has its own tenant."""
    async with AsyncExitStack() as stack:
        clock, ids = SystemClock(), RandomIds()
        telemetry = PrometheusTelemetry("0.0.test")
        registry = load_nodes()
        schemas = JsonSchemas(registry.types)
        ledger = PostgresLedger(database.serve_url)
        await ledger.open()
        stack.push_async_callback(ledger.close)
        blobs = PostgresBlobs(ledger.connection)
        bus = PostgresBus(lambda: connect_as_server(database.serve_url))
        await bus.start()
        stack.push_async_callback(bus.stop)
        egress = GuardedEgress(("loopback",))
        stack.push_async_callback(egress.close)
        secrets = AesGcmSecrets(GivenKeys(["a key for tests, of 32 bytes or more"]))
        webhooks = await open_webhooks(database.serve_url, ("loopback",), secrets, clock, telemetry, stack)
        calls = PrepareWebhookCalls(webhooks.rows, webhooks.secrets, clock, BASE)
        inline = InlineExecutor(
            registry, egress, blobs, trusted=registry.shipped, on_stall=telemetry.loop_stalled, webhooks=calls
        )
        shelf = PostgresCodeShelf(ledger.connection, secrets)
        scratch = tmp_path_factory.mktemp("scratch")
        task_log = PostgresTaskLog(ledger.connection)
        stack.push_async_callback(task_log.close)
        walls = find_walls(None, is_local=True)
        sandbox = SandboxExecutor(walls, shelf, egress, blobs, scratch=scratch, size=4, task_log=task_log)
        engine = LocalEngine(
            name="test:doors",
            ledger=ledger,
            blobs=blobs,
            bus=bus,
            executors={"inline": inline, "sandbox": BatchingExecutor(LoggedExecutor(sandbox, task_log), task_log)},
            catalogue=registry.types,
            clock=clock,
            ids=ids,
            telemetry=telemetry,
        )
        await engine.open()
        stack.push_async_callback(engine.close, 5.0)
        telemetry.lattice.count_running(lambda: engine.runner.graphs_with_places)
        identity = LocalIdentity(tmp_path_factory.mktemp("keys"), clock)
        identity.open()
        access_store = PostgresAccess(database.serve_url)
        await access_store.open()
        stack.push_async_callback(access_store.close)
        access = build_access(
            access_store=access_store,
            store=store,
            tokens=identity,
            clock=clock,
            ids=ids,
            peppers=(b"the pepper of the tests, long enough",),
            secrets=AesGcmSecrets(GivenKeys(["a key for tests, of 32 bytes or more"])),
            environment="local",
        )
        await start_relay(webhooks, ledger, egress, clock, stack, audit_disabled(access.audit, clock, ids))
        services = build_services(
            store=store,
            engine=engine,
            bus=bus,
            blobs=blobs,
            access=access,
            registry=registry,
            clock=clock,
            ids=ids,
            check_parameters=schemas.check_parameters,
            check_value=schemas.check_value,
            webhooks=webhooks,
            save_code=SaveCode(shelf, is_enabled=True, has_sandbox=True),
            workers=build_workers(ledger, engine.runner.placing, clock),
            places=engine.runner.placing,
        )
        yield House(services, identity, telemetry, clock, ids, egress, webhooks.check_url, access_store, store)


@dataclass(frozen=True)
class Caller:
    """Somebody with a token, calling the app door."""

    http: httpx2.AsyncClient
    tenant_id: str
    subject: str
    token: str
    prefix: str = "/api/app"

    async def get(self, path: str, **options: Any) -> httpx2.Response:
        return await self.http.get(self.prefix + path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> httpx2.Response:
        return await self.http.post(self.prefix + path, json={} if body is None else body, **options)

    async def put(self, path: str, body: Any, **options: Any) -> httpx2.Response:
        return await self.http.put(self.prefix + path, json=body, **options)

    async def stored(self, definition: dict[str, Any]) -> str:
        """Store a workflow; its id."""
        answer = await self.post("/workflows", {"name": "Test", **definition})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["workflow_id"])

    async def started(self, definition: dict[str, Any], inputs: Any = None, wait_ms: int = 0) -> str:
        """Store and execute a workflow; the id of the execution."""
        workflow_id = await self.stored(definition)
        told = {"inputs": {} if inputs is None else inputs, "wait_ms": wait_ms}
        answer = await self.post(f"/workflows/{workflow_id}/execute", told)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["execution_id"])


MakeCaller = Callable[..., Awaitable[Caller]]


@pytest.fixture
async def make_caller(house: House) -> AsyncIterator[MakeCaller]:
    """Makes callers: each of a tenant of its own unless one is named."""
    async with AsyncExitStack() as stack:
        numbers = itertools.count(1)

        async def make(
            tenant_id: str | None = None,
            *,
            subject: str | None = None,
            scopes: Collection[str] = LOCAL_SCOPES,
            app: ASGIApp | None = None,
            prefix: str = "/api/app",
        ) -> Caller:
            subject = subject or f"user-{next(numbers)}"
            tenant_id = tenant_id or f"tenant-{house.ids.new()}"
            token = house.identity.mint(subject, tenant_id, scopes)
            client = httpx2.AsyncClient(
                transport=httpx2.ASGITransport(app=app or house.app()),
                base_url=BASE,
                headers={"authorization": f"Bearer {token}"},
            )
            await stack.enter_async_context(client)
            return Caller(client, tenant_id, subject, token, prefix)

        yield make


@pytest.fixture
async def caller(make_caller: MakeCaller) -> Caller:
    """A member of a fresh tenant with all scopes but admin."""
    return await make_caller()


class Stream:
    """One request whose answer is read piece by piece, as a slow or leaving client does."""

    def __init__(self, app: ASGIApp, path: str, headers: dict[str, str], query: str = "") -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.text = ""
        self._left = asyncio.Event()
        self._grew = asyncio.Event()
        self._may_take = asyncio.Event()
        self._may_take.set()
        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": query.encode(),
            "headers": [(b"host", b"127.0.0.1"), *((k.encode(), v.encode()) for k, v in headers.items())],
            "client": ("127.0.0.1", 1),
            "extensions": {},
        }
        self.task = asyncio.create_task(app(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        await self._may_take.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {k.decode(): v.decode() for k, v in message["headers"]}
        else:
            self.text += message.get("body", b"").decode()
        self._grew.set()

    def leave(self) -> None:
        """Close the connection."""
        self._left.set()

    def stall(self) -> None:
        """Take nothing more."""
        self._may_take.clear()

    async def until(self, found: Callable[[Stream], bool], seconds: float = 5.0) -> None:
        """Read on until ``found`` holds."""
        async with asyncio.timeout(seconds):
            while not found(self):
                self._grew.clear()
                await self._grew.wait()

    async def end(self, seconds: float = 5.0) -> str:
        """Read to the end."""
        async with asyncio.timeout(seconds):
            await self.task
        return self.text


@pytest.fixture
async def open_stream() -> AsyncIterator[Callable[..., Stream]]:
    """Opens streams; whatever is left open is closed at the end."""
    opened: list[Stream] = []

    def make(app: ASGIApp, path: str, caller: Caller | None = None, query: str = "", **headers: str) -> Stream:
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        if caller is not None:
            told["authorization"] = f"Bearer {caller.token}"
        opened.append(Stream(app, path, told, query))
        return opened[-1]

    yield make
    for stream in opened:
        stream.leave()
        stream.task.cancel()
    await asyncio.gather(*(stream.task for stream in opened), return_exceptions=True)


@pytest.fixture
async def nobody(house: House) -> AsyncIterator[httpx2.AsyncClient]:
    """A client without a credential."""
    transport = httpx2.ASGITransport(app=house.app())
    async with httpx2.AsyncClient(transport=transport, base_url=BASE) as client:
        yield client


@pytest.fixture
async def tempo(house: House) -> AsyncIterator[Tempo]:
    """A caller of the tempo door in local mode, of a tenant of its own."""
    tenant_id = f"t-{house.ids.new().hex}"
    transport = httpx2.ASGITransport(app=house.app())
    headers = {"X-Tenant-Id": tenant_id}
    async with httpx2.AsyncClient(transport=transport, base_url=BASE, headers=headers) as client:
        yield Tempo(client, tenant_id)
