"""Workers over the real Postgres: announced, reached, drained and lost, each seen by those whom it concerns."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import asyncpg
import pytest

from conftest import Database, Tenant
from interlock.backends.store.postgres.ledger import PostgresLedger
from interlock.backends.telemetry.prometheus import PrometheusTelemetry
from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.principal import LOCAL_TENANT, Principal, Scope
from interlock.core.resources import Resources
from interlock.core.worker import Capacity, Gpu, Machine
from interlock.kit.clock import SystemClock
from interlock.ports.workers import LOCAL_WORKER
from interlock.runtime.placing import Placing
from interlock.runtime.workforce import Workforce, share_of
from interlock.services.workers.bundle import Workers, build_workers
from interlock.services.workers.connect import WorkerAnnounced

CAPACITY = Capacity(cpu=8, memory=16_384, gpus=(Gpu(number=0, memory=8_192),))
_numbers = count()


class Yard:
    """The workers of a tenant, and an executor that reaches those the test says."""

    def __init__(self, database: Database, ledger: PostgresLedger, tenant: Tenant) -> None:
        self.database = database
        self.reached: set[str] = set()
        clock = SystemClock()
        self.telemetry = PrometheusTelemetry("test")
        self.placing = Placing(clock, self.telemetry, local=Capacity(cpu=4, memory=100))
        self.machines: list[Machine] = []
        self.own = "ray-own"
        self.workforce = Workforce(ledger, self.placing, self._reaches, lambda: (0, 1), self._machines)
        self.workers: Workers = build_workers(ledger, self.placing, clock, self._reaches)
        self.owner = Principal("ann", LOCAL_TENANT, frozenset({Scope.WORKERS_WRITE}))
        self.tenant = Principal("bob", tenant.tenant_id, frozenset({Scope.WORKERS_WRITE}))
        self.name = f"node-{tenant.tenant_id}-{next(_numbers)}"

    def _reaches(self, worker_id: str, address: str) -> str:
        if worker_id in self.reached:
            return worker_id
        known = {machine.worker_id for machine in self.machines}
        at = [machine.worker_id for machine in self.machines if machine.address == address]
        return worker_id if worker_id in known else (at[0] if at and not worker_id.startswith("ray-") else "")

    def _machines(self) -> tuple[str, list[Machine]]:
        own = Machine(worker_id="ray-own", address="of the server", capacity=CAPACITY)
        return self.own, [own, *self.machines] if self.machines else []

    def machine(self, **changes: Any) -> Machine:
        """A machine that nobody has announced yet."""
        told = {"worker_id": f"ray-{self.name}", "address": f"of {self.name}", "capacity": CAPACITY, **changes}
        return Machine(**told)

    async def announce(self, principal: Principal | None = None, **changes: Any) -> Any:
        told = {"worker_id": self.name, "address": "192.168.1.100", "capacity": CAPACITY, **changes}
        return await self.workers.connect.connect(principal or self.owner, WorkerAnnounced(**told))

    async def states(self, principal: Principal | None = None) -> dict[str, str]:
        return {worker.worker_id: worker.state for worker in await self.workers.list.list(principal or self.owner)}

    async def fall_silent(self) -> None:
        connection = await asyncpg.connect(self.database.superuser_url)
        try:
            await connection.execute(
                "update interlock.workers set last_seen_at = now() - interval '31 seconds' where worker_id = $1",
                self.name,
            )
        finally:
            await connection.close()


@pytest.fixture
async def yard(database: Database, tenant: Tenant) -> AsyncIterator[Yard]:
    ledger = PostgresLedger(database.serve_url)
    await ledger.open()
    yield Yard(database, ledger, tenant)
    await ledger.close()


async def refusal(doing: Any) -> InterlockError:
    with pytest.raises(InterlockError) as refused:
        await doing
    return refused.value


async def test_what_nobody_reaches_is_pending_and_gives_nothing(yard: Yard) -> None:
    worker = await yard.announce()
    assert (worker.state, worker.capacity, worker.free, worker.running) == ("pending", CAPACITY, Resources(cpu=0), 0)
    await yard.workforce.look()
    assert yard.placing.capacity_of(yard.name) is None
    assert (await yard.states()).items() >= {LOCAL_WORKER: "ready", yard.name: "pending"}.items()
    here = await yard.announce(worker_id=LOCAL_WORKER)
    assert (here.state, here.capacity) == ("ready", Capacity(cpu=4, memory=100))
    yard.placing.set_local(is_open=False)
    here = await yard.announce(worker_id=LOCAL_WORKER)
    assert (here.state, here.free) == ("pending", Resources(cpu=0))


async def test_what_is_reached_gets_tasks_and_loses_them_when_it_drains(yard: Yard) -> None:
    await yard.announce()
    yard.reached.add(yard.name)
    await yard.workforce.look()
    assert yard.placing.capacity_of(yard.name) == CAPACITY
    (worker,) = [found for found in await yard.workers.list.list(yard.owner) if found.worker_id == yard.name]
    assert (worker.state, worker.free) == ("ready", Resources(cpu=8, memory=16_384, gpu=1, gpu_memory=8_192))

    drained = await yard.workers.disconnect.disconnect(yard.owner, yard.name, 60.0)
    assert drained.state == "draining"
    await yard.workforce.look()
    assert yard.placing.capacity_of(yard.name) is not None
    assert not yard.placing.takes_tasks(yard.name)

    assert (await yard.announce(is_refresh=True)).state == "draining", "it only said that it lives"
    await yard.workforce.look()
    assert not yard.placing.takes_tasks(yard.name)

    assert (await yard.announce(capacity=Capacity(cpu=2, memory=1))).state == "ready"
    await yard.workforce.look()
    assert yard.placing.takes_tasks(yard.name)
    assert yard.placing.capacity_of(yard.name) == Capacity(cpu=2, memory=1)

    await yard.workers.disconnect.disconnect(yard.owner, yard.name, 0.0)
    assert (await yard.announce(is_refresh=True)).state == "draining"
    await yard.workforce.look()
    assert yard.placing.capacity_of(yard.name) is None


async def test_without_a_sign_of_life_it_is_lost(yard: Yard) -> None:
    await yard.announce()
    yard.reached.add(yard.name)
    await yard.workforce.look()
    await yard.fall_silent()
    await yard.workforce.look()  # what an executor reaches lives
    assert (await yard.states())[yard.name] == "ready"
    yard.reached.clear()
    await yard.workforce.look()
    assert not yard.placing.takes_tasks(yard.name)
    await yard.fall_silent()
    await yard.workforce.look()
    assert (await yard.states())[yard.name] == "lost"
    assert yard.placing.capacity_of(yard.name) is None
    assert (await yard.announce()).state == "pending"


async def test_what_a_tenant_says_of_machines_moves_nobodys_tasks(yard: Yard) -> None:
    """It could say that a node which is there has a thousand cores, or take it away under the tasks of others."""
    yard.reached.add(yard.name)
    assert (await yard.announce(yard.tenant, capacity=Capacity(cpu=1e6, memory=1e6))).state == "pending"
    await yard.workforce.look()
    assert yard.placing.capacity_of(yard.name) is None
    assert await yard.states(yard.tenant) == {LOCAL_WORKER: "ready", yard.name: "pending"}
    (worker,) = [found for found in await yard.workers.list.list(yard.tenant) if found.worker_id == yard.name]
    assert worker.free == Resources(cpu=0)
    await yard.workers.disconnect.disconnect(yard.tenant, yard.name, 0.0)
    await yard.workforce.look()


async def test_workers_are_their_tenants_and_the_operators(yard: Yard, new_tenant: Any) -> None:
    await yard.announce(yard.tenant)
    other = Principal("eve", new_tenant().tenant_id, frozenset({Scope.WORKERS_WRITE}))
    operator = Principal("op", LOCAL_TENANT, frozenset({Scope.ADMIN}))
    viewer = Principal("bob", other.tenant_id, frozenset({Scope.EXECUTIONS_READ}))
    assert (await refusal(yard.announce(other))).code == "WORKER_TAKEN"
    assert yard.name not in await yard.states(other)
    unknown = await refusal(yard.workers.disconnect.disconnect(other, yard.name))
    assert (unknown.kind, unknown.message) == (ErrorKind.NOT_FOUND, f"Worker {yard.name} not found")
    assert (await yard.workers.disconnect.disconnect(operator, yard.name)).state == "draining"
    assert yard.name in await yard.states(operator)
    for doing in (
        yard.announce(viewer),
        yard.workers.list.list(viewer),
        yard.workers.disconnect.disconnect(viewer, yard.name),
    ):
        assert (await refusal(doing)).kind is ErrorKind.DENIED


@pytest.mark.parametrize(
    "changes",
    [
        {"worker_id": ""},
        {"worker_id": "a\nb"},
        {"capacity": Capacity(cpu=-1, memory=0)},
        {"capacity": Capacity(cpu=float("inf"), memory=0)},
        {"capacity": Capacity(cpu=1, memory=0, gpus=(Gpu(number=0), Gpu(number=0)))},
    ],
)
async def test_what_no_machine_has_is_refused(yard: Yard, changes: dict[str, Any]) -> None:
    assert (await refusal(yard.announce(**changes))).kind is ErrorKind.RULE


async def test_the_servers_own_machine_stays(yard: Yard) -> None:
    assert (await refusal(yard.workers.disconnect.disconnect(yard.owner, LOCAL_WORKER))).code == "WORKER_IS_LOCAL"
    assert (await refusal(yard.workers.disconnect.disconnect(yard.owner, yard.name, -1))).kind is ErrorKind.RULE


def test_processes_share_a_worker() -> None:
    two = Capacity(cpu=9, memory=100, gpus=(Gpu(number=0), Gpu(number=1)))
    assert share_of(two, 0, 1) == two
    assert share_of(two, 1, 2) == Capacity(cpu=4, memory=50, gpus=(Gpu(number=1),))
    assert share_of(CAPACITY, 1, 2).gpus == CAPACITY.gpus


async def test_machines_that_nobody_announced_are_workers_by_themselves(yard: Yard) -> None:
    machine = yard.machine()
    yard.machines.append(machine)
    await yard.workforce.look()
    await yard.workforce.look()
    assert yard.placing.capacity_of(machine.worker_id) == CAPACITY, "devices and all"
    assert (await yard.states())[machine.worker_id] == "ready"
    assert machine.worker_id not in await yard.states(yard.tenant), "a tenant sees its own"
    assert (await refusal(yard.announce(yard.tenant, worker_id=machine.worker_id))).code == "WORKER_TAKEN"

    mine = await yard.announce(worker_id=machine.worker_id, capacity=Capacity(cpu=2, memory=1))
    assert mine.state == "ready"
    await yard.workforce.look()
    assert yard.placing.capacity_of(machine.worker_id) == Capacity(cpu=2, memory=1), "the operator took it over"
    assert (await yard.workers.disconnect.disconnect(yard.owner, machine.worker_id, 60.0)).state == "draining"
    await yard.workforce.look()
    assert not yard.placing.takes_tasks(machine.worker_id), "what is emptied is not followed anew"


async def test_a_machine_is_counted_once_under_whatever_names(yard: Yard) -> None:
    machine = yard.machine()
    await yard.announce(address=machine.address)
    yard.machines.append(machine)
    await yard.workforce.look()
    await yard.workforce.look()
    assert yard.placing.takes_tasks(yard.name)
    assert yard.placing.capacity_of(machine.worker_id) is None, "it was announced by its address"
    await yard.announce(worker_id=f"{yard.name}-again", address=machine.address)
    await yard.workforce.look()
    assert yard.placing.capacity_of(f"{yard.name}-again") is None
    await yard.announce(worker_id=machine.worker_id)
    await yard.workforce.look()
    assert (yard.placing.takes_tasks(machine.worker_id), yard.placing.takes_tasks(yard.name)) == (True, False)


async def test_the_machine_of_a_server_is_no_second_worker_for_the_others(yard: Yard) -> None:
    machine = yard.machine()
    yard.own, yard.machines = machine.worker_id, [machine]
    await yard.workforce.look()
    assert machine.worker_id not in await yard.states()

    yard.own = "ray-own"  # another server, which sees that machine
    await yard.workforce.look()
    await yard.workforce.look()
    assert yard.placing.capacity_of(machine.worker_id) == Capacity(cpu=0, memory=0)
    yard.name = machine.worker_id
    yard.machines.clear()
    await yard.fall_silent()
    yard.machines.append(machine)
    await yard.workforce.look()
    await yard.workforce.look()
    assert yard.placing.capacity_of(machine.worker_id) == CAPACITY, "its server is gone for good"
