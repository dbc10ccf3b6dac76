"""What a scenario stands on: a database of its own, servers, the sink, a client, and a watch over progress."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from crash.client import APP, Client
from crash.clock import steady
from crash.database import Database, Observer, PostgresServer
from crash.dump import write_dump
from crash.effects import Effects
from crash.faultproxy import FaultProxy, unix
from crash.ownership import watch_ownership
from crash.process import Process, python
from crash.scale import Scale
from crash.server import Server
from crash.stuck import check_stuck
from crash.verdict import Verdict

STALL_SECONDS = 30.0


class Stuck(Exception):
    """Nothing moved for too long, or it took too long; a dump was written."""


class Stage:
    """Everything of one scenario, in a directory of its own; leaving it ends all it started."""

    def __init__(self, postgres: PostgresServer, directory: Path, scale: Scale, verdict: Verdict) -> None:
        self.scale = scale
        self.verdict = verdict
        self.random = random.Random(verdict.seed)
        self.directory = directory
        self.servers: list[Server] = []
        self.sink = ""
        self._postgres = postgres
        self._exits = AsyncExitStack()
        self._database: Database | None = None
        self._observer: Observer | None = None
        self._client: Client | None = None

    async def __aenter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        try:
            self._database = await self._postgres.fresh(self._database_name())
            self._observer = await self._database.observe()
            self._exits.push_async_callback(self._observer.close)
            await watch_ownership(self._observer)
            self.sink = await self._start_sink()
            history = self.directory / "history.jsonl"
            self._client = await self._exits.enter_async_context(Client(history, self.verdict.seed))
        except BaseException:
            await self._exits.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exits.aclose()

    def _database_name(self) -> str:
        return "_".join(self.directory.parts[-2:]).lower().replace("-", "_")

    @property
    def database(self) -> Database:
        """The scenario's own database."""
        assert self._database is not None
        return self._database

    @property
    def observer(self) -> Observer:
        """Sees all tables."""
        assert self._observer is not None
        return self._observer

    @property
    def client(self) -> Client:
        """Calls the servers as the local user."""
        assert self._client is not None
        return self._client

    async def _start_sink(self) -> str:
        process = Process("sink", self.directory / "sink.log")
        await process.launch(python("crash.sink", str(self.directory / "sink.db")), {})
        self._exits.push_async_callback(process.stop, 5.0)
        return f"http://127.0.0.1:{await process.expect('ready', 20)}"

    def effects(self) -> Effects:
        """What the sink has seen so far."""
        return Effects.read(self.directory / "sink.db")

    async def add_server(self, name: str, database_url: str | None = None, **settings: str) -> Server:
        """Launch a healthy server and wait until it serves."""
        server = self.new_server(name, database_url, **settings)
        await server.launch()
        self.client.token = server.token
        return server

    def beside(self, name: str) -> Stage:
        """Another stage for a part of the same scenario, with a database of its own; its findings are ours."""
        return Stage(self._postgres, self.directory / name, self.scale, self.verdict)

    def new_server(self, name: str, database_url: str | None = None, **settings: str) -> Server:
        """A server that the scenario launches itself; the stage ends it. Settings by their names without prefix."""
        server = Server(name, self.directory, database_url or self.database.serve_url, **settings)
        self.servers.append(server)
        self._exits.push_async_callback(server.process.stop)
        return server

    async def add_proxy(self) -> FaultProxy:
        """A proxy in front of Postgres."""
        proxy = FaultProxy(unix(self.database.socket))
        await self.keep(proxy)
        return proxy

    async def keep(self, proxy: FaultProxy) -> None:
        """Start a proxy and stop it with the stage."""
        await proxy.start()
        self._exits.push_async_callback(proxy.stop)

    def running(self) -> list[str]:
        """Addresses of the servers whose process lives."""
        return [server.url for server in self.servers if server.process.is_running]

    async def store(self, definition: dict[str, Any]) -> str:
        """Store a workflow; its id."""
        answer = await self.client.insist(self.running, "POST", f"{APP}/workflows", definition)
        if answer.status >= 400:
            raise RuntimeError(f"{definition['name']} was refused with {answer.status}: {answer.body}")
        return str(answer.body["workflow_id"])

    async def start(self, workflow_id: str, ref: str, wait_ms: int = 0, url: str | None = None) -> str:
        """Start an execution with ``ref`` as its key, however often it takes; its id.

        At ``url`` as long as that server lives: one that dies before it has answered may have started it.
        """

        def servers() -> list[str]:
            living = self.running()
            return [url] if url is not None and url in living else living

        body = {"inputs": {"ref": ref}, "wait_ms": wait_ms}
        path = f"{APP}/workflows/{workflow_id}/execute"
        answer = await self.client.insist(servers, "POST", path, body, ref)
        if answer.status >= 400:
            raise RuntimeError(f"the start {ref} was refused with {answer.status}: {answer.body}")
        return str(answer.body["execution_id"])

    async def until(self, what: str, look: Callable[[], Awaitable[bool]], seconds: float) -> float:
        """Wait until ``look`` says yes; the seconds it took. Raises Stuck, at once if nothing moves any more."""
        begun = moved = steady()
        last = await self.observer.progress()
        while not await look():
            await asyncio.sleep(0.1)
            now, current = steady(), await self.observer.progress()
            if current != last:
                last, moved = current, now
            if now - begun > seconds or now - moved > STALL_SECONDS:
                self.verdict.dump = str(await write_dump(self.directory, self.observer, self.servers))
                await check_stuck(self.observer, self.verdict)
                raise Stuck(f"{what}: not after {now - begun:.0f} s, nothing moved for {now - moved:.0f} s")
        return steady() - begun

    async def drain(self, seconds: float = 60.0) -> float:
        """Wait until every execution has ended; the seconds it took."""

        async def is_drained() -> bool:
            return not await self.observer.unfinished()

        return await self.until("every execution ends", is_drained, seconds)

    async def prove_health(self, workflow_id: str, times: int = 3) -> None:
        """After the faults: every server carries ``times`` executions through, one after the other."""
        await asyncio.gather(*(self._prove_one(server, workflow_id, times) for server in self.servers))

    async def _prove_one(self, server: Server, workflow_id: str, times: int) -> None:
        for number in range(times):
            ref = f"healthy-{server.name}-{server.launches}-{number}"
            execution_id = await self.start(workflow_id, ref, wait_ms=10_000, url=server.url)
            answer = await self.client.insist([server.url], "GET", f"{APP}/executions/{execution_id}?wait_ms=10000")
            self.verdict.expect(
                f"{server.name} works after healing ({number + 1})",
                answer.status == 200 and answer.body["status"] == "SUCCESS",
                f"{answer.status} {answer.body.get('status')}",
            )
