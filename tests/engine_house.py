"""Real engines on a database of their own, with nodes whose end the test decides."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from itertools import pairwise
from typing import Any
from uuid import UUID

import asyncpg

from conftest import Database, Tenant, make_workflow
from interlock.backends.blobs.postgres import PostgresBlobs
from interlock.backends.bus.postgres import PostgresBus
from interlock.backends.egress.client import GuardedEgress
from interlock.backends.executor.inline import InlineExecutor
from interlock.backends.store.postgres.connection import connect_as_server
from interlock.backends.store.postgres.ledger import PostgresLedger
from interlock.backends.store.postgres.store import PostgresStore
from interlock.backends.telemetry.prometheus import PrometheusTelemetry
from interlock.core.commands import SignalKind
from interlock.core.ids import ExecutionId
from interlock.core.node_type import NodeType
from interlock.core.workflow import (
    ConnectionDefinition,
    Definition,
    FlowDefinition,
    GraphDefinition,
    NodeDefinition,
    TransitionDefinition,
    Workflow,
)
from interlock.kit.clock import SystemClock
from interlock.kit.ids import RandomIds
from interlock.nodes import load
from interlock.ports.engine import Key, SendSignal, Standing, StartExecution
from interlock.ports.ledger import Loaded
from interlock.ports.node import Attempt, Done, Services
from interlock.runtime.engine import LocalEngine

DEADLINE = 10.0


class Gate:
    """A node that waits until the test opens it; it counts its attempts."""

    type = NodeType(name="gate", title="Gate", description="Waits for the test.", schema={"type": "object"})

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.entered = asyncio.Event()
        self.attempts: list[Attempt] = []
        self.cancelled = 0

    async def run(self, attempt: Attempt, services: Services) -> Done:
        self.attempts.append(attempt)
        self.entered.set()
        try:
            await self.opened.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return Done(output={"by": attempt.attempt})


class CountingLedger(PostgresLedger):
    """Counts how often each log is read back, and how many each query reads."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.loads: Counter[UUID] = Counter()
        self.together: list[int] = []

    async def load(self, execution_ids: Sequence[UUID]) -> list[Loaded]:
        self.loads.update(execution_ids)
        self.together.append(len(execution_ids))
        return await super().load(execution_ids)


class House:
    """A database with workflows of one tenant, and engines that work on it."""

    def __init__(self, database: Database, tenant: Tenant) -> None:
        self.database = database
        self.tenant = tenant
        self.stack = AsyncExitStack()
        self.store = PostgresStore(database.serve_url)
        self.ids = RandomIds()
        self.engines: list[LocalEngine] = []
        self.buses: list[PostgresBus] = []

    async def open(self) -> None:
        await self.store.open()
        self.stack.push_async_callback(self.store.close)

    async def close(self) -> None:
        for engine in self.engines:
            await engine.close(1.0)
        await self.stack.aclose()

    async def engine(
        self,
        name: str = "test",
        *,
        ledger: PostgresLedger | None = None,
        nodes: tuple[Any, ...] = (),
        process: Any = None,
        **options: Any,
    ) -> LocalEngine:
        """Another engine, as another process would have it."""
        registry = load()
        for node in nodes:
            registry.add(node)
        ledger = ledger or PostgresLedger(self.database.serve_url)
        await ledger.open()
        self.stack.push_async_callback(ledger.close)
        blobs = PostgresBlobs(ledger.connection)
        bus = PostgresBus(lambda: connect_as_server(self.database.serve_url))
        await bus.start()
        self.buses.append(bus)
        self.stack.push_async_callback(bus.stop)
        egress = GuardedEgress(("loopback",))
        self.stack.push_async_callback(egress.close)
        inline = InlineExecutor(registry, egress, blobs, trusted=registry.shipped)
        engine = LocalEngine(
            name=name,
            ledger=ledger,
            blobs=blobs,
            bus=bus,
            executors={"inline": inline, "process": process or inline},
            catalogue=registry.types,
            clock=SystemClock(),
            ids=self.ids,
            telemetry=PrometheusTelemetry("test"),
            **options,
        )
        await engine.open()
        self.engines.append(engine)
        return engine

    async def workflow(self, definition: Definition, name: str = "w") -> Workflow:
        workflow = make_workflow(self.tenant.principal, definition=definition, name=name)
        async with self.store.transaction(self.tenant.principal) as transaction:
            await transaction.add_workflow(workflow)
        return workflow

    def request(self, workflow: Workflow, **more: Any) -> StartExecution:
        key = more.pop("key", None)
        fields: dict[str, Any] = {
            "tenant_id": workflow.tenant_id,
            "user_id": workflow.user_id,
            "visibility": workflow.visibility,
            "workflow_id": workflow.workflow_id,
            "version_id": workflow.version.version_id,
            "number": 1,
            "definition": workflow.version.definition,
            "input": None,
            "trace_id": "0" * 32,
            "wait": DEADLINE,
            "key": Key("test", key, "digest") if isinstance(key, str) else key,
        }
        return StartExecution(**fields | more)

    async def start(self, engine: LocalEngine, definition: Definition, **more: Any) -> Standing:
        return await engine.start(self.request(await self.workflow(definition), **more))

    async def rows(self, statement: str, *arguments: Any) -> list[Any]:
        """As the superuser: what is really in the tables."""
        connection = await asyncpg.connect(self.database.superuser_url)
        try:
            return list(await connection.fetch(statement, *arguments))
        finally:
            await connection.close()

    async def log(self, execution_id: UUID) -> list[tuple[int, str]]:
        rows = await self.rows(
            "select seq, type from interlock.events where execution_id = $1 order by seq", execution_id
        )
        return [(row[0], row[1]) for row in rows]

    async def kill(self, engine: LocalEngine) -> None:
        """What others see of a process that died: its row is gone; its executions are free. It takes no new ones."""
        engine.drain()
        await self.rows("delete from interlock.runners where runner_id = $1 returning 1", engine.runner_id)
        await self.rows(
            "update interlock.live set owner = null, epoch = epoch + 1, wake_at = now() where owner = $1 returning 1",
            engine.runner_id,
        )

    async def until(self, condition: Callable[[], Any], what: str = "the condition") -> None:
        """Wait for something only the database or another task can tell; fails after DEADLINE seconds."""
        try:
            async with asyncio.timeout(DEADLINE):
                while True:
                    found = condition()
                    if asyncio.iscoroutine(found):
                        found = await found
                    if found:
                        return
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"{what} did not come true") from None


def node(node_id: str, kind: str = "transform", **parameters: Any) -> NodeDefinition:
    if kind == "transform" and not parameters:
        parameters = {"mapping": "{{ $json }}"}
    return NodeDefinition(id=node_id, type=kind, parameters=parameters)


def chain(*nodes: NodeDefinition) -> GraphDefinition:
    pairs = pairwise(nodes)
    return GraphDefinition(
        nodes=nodes, connections=tuple(ConnectionDefinition(source=a.id, target=b.id) for a, b in pairs)
    )


def signal(house: House, execution_id: UUID, name: str, payload: Any = None, **more: Any) -> SendSignal:
    """What somebody sends to an execution, an event unless ``kind`` says otherwise."""
    return SendSignal(
        execution_id=ExecutionId(execution_id),
        tenant_id=house.tenant.tenant_id,
        kind=more.pop("kind", SignalKind.EVENT),
        name=name,
        payload=payload,
        sent_by="user-1",
        trace_id="1" * 32,
        **more,
    )


ASK = GraphDefinition(
    nodes=(node("ask", "approval", title="?"), node("after")),
    connections=(ConnectionDefinition(source="ask", target="after", port="confirmed"),),
)


COIN = FlowDefinition(
    states=("heads", "tails", "over"),
    initial_state="heads",
    terminal_states=("over",),
    transitions=(
        TransitionDefinition(source=("heads",), event="TURN", target=("tails",)),
        TransitionDefinition(source=("tails",), event="TURN", target=("heads",)),
        TransitionDefinition(source=("heads", "tails"), event="END", target=("over",)),
    ),
)


def given_up(node_id: str, kind: str, parameters: dict[str, Any]) -> GraphDefinition:
    """A graph that gives such a node up after 0.4 s, and then waits for the signal ``go``."""
    return GraphDefinition(
        nodes=(
            NodeDefinition(id=node_id, type=kind, parameters=parameters, deadline=0.4, on_error="continue"),
            node("w", "wait", signal="go"),
        ),
        connections=(ConnectionDefinition(source=node_id, target="w"),),
    )


def left_for_rest(kind: str, parameters: dict[str, Any]) -> FlowDefinition:
    """A flow that begins in a state with such a node and leaves it on SKIP, before the node is done, to rest."""
    return FlowDefinition(
        states=("work", "rest", "over"),
        initial_state="work",
        terminal_states=("over",),
        nodes={"work": kind},
        parameters={"work": parameters},
        transitions=(
            TransitionDefinition(source=("work",), event="SKIP", target=("rest",)),
            TransitionDefinition(source=("rest",), event="DONE", target=("over",)),
        ),
    )
