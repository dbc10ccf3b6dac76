"""One cell of the matrix failpoint times action, and the work that is in flight when it is hit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from crash.client import APP, GaveUp, Lost
from crash.clock import steady, wall
from crash.families import store_family
from crash.load import Promise
from crash.server import FAILPOINT_EXIT, Server
from crash.stage import Stage
from crash.workflows import chain, expiring, parent, paused, resting

LATER_HIT = {"claiming.before_claim": 3}
"""Points that are hit before there is any work: which hit counts."""
HIT_SECONDS = 30.0
ALIVE_SECONDS = 30.0
PAUSED = 5


@dataclass
class Cell:
    """A failpoint and what it does. ``sleep`` is seconds."""

    name: str
    action: str
    sleep: float
    was_hit: bool = False
    note: str = ""
    sick: str = ""
    promises: list[Promise] = field(default_factory=list)
    families: list[Promise] = field(default_factory=list)
    cancelled: list[Promise] = field(default_factory=list)

    @property
    def _what(self) -> str:
        return f"sleep:{self.sleep:g}" if self.action == "sleep" else self.action

    @property
    def plan(self) -> str:
        """What the server is told: one hit only."""
        return f"{self.name}={self._what}@{LATER_HIT.get(self.name, 1)}"

    def __str__(self) -> str:
        return f"{self.name}={self.action}"

    async def watch(self, victim: Server) -> None:
        """Wait until the victim's own log says that it was hit, and for ``exit`` until it is gone."""
        said = f"failpoint {self.name}={self._what}"
        until = steady() + HIT_SECONDS
        while not self.was_hit and steady() < until:
            await asyncio.sleep(0.05)
            self.was_hit = said in victim.process.logged()[victim.process.logged_before :]
        if not self.was_hit:
            self.note = "was not reached"
        elif self.action == "exit":
            self.was_hit = await victim.process.ended(10) and victim.process.exit_code == FAILPOINT_EXIT
            self.note = f"ended with {victim.process.exit_code}"


def plan_of(cells: Sequence[Cell]) -> str:
    """The plan of a server that meets all of them."""
    return ",".join(cell.plan for cell in cells)


class Stimulus:
    """Work of every sort: starts, timers, an approval, a signal, a family, cancellations of one and of a parent."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._workflows: dict[str, str] = {}
        self._count = 0

    async def prepare(self) -> None:
        """Store the workflows."""
        stage = self._stage
        for name, definition in (
            ("paused", paused(stage.sink, 0.3)),
            ("approval", resting(stage.sink, "approval")),
            ("signal", resting(stage.sink, "signal")),
            ("expiring", expiring(stage.sink, 1)),
            ("held", chain(stage.sink, 2, 60.0)),
            ("chain", chain(stage.sink, 2, 0.3)),
        ):
            self._workflows[name] = await stage.store(definition)
        self._workflows["family"] = await store_family(stage, 0.1)
        self._workflows["parent"] = await stage.store(parent(stage.sink, self._workflows["held"]))

    async def seed(self, cell: Cell, seeder: Server) -> None:
        """Executions that a server has begun when it dies."""
        for _ in range(3):
            cell.promises.append(await self._start("chain", cell, seeder))

    async def apply(self, cell: Cell, victim: Server) -> None:
        """Every call asks the victim first, and whoever runs if it gives no clear answer."""
        cell.promises.append(await self._start("expiring", cell, victim))  # while it has a free slot to own it
        async with asyncio.TaskGroup() as group:
            group.create_task(self._decide(cell, victim))
            group.create_task(self._signal(cell, victim))
            group.create_task(self._cancel("held", cell, victim))
            group.create_task(self._cancel("parent", cell, victim))
            group.create_task(self._beget(cell, victim))
            for _ in range(PAUSED):
                group.create_task(self._pause(cell, victim))

    async def prove_alive(self, cell: Cell, victim: Server) -> None:
        """It still carries an execution from start to end."""
        ref = f"{cell}-alive"
        try:
            begun = steady()
            answer = await self._stage.client.insist(
                [victim.url], "POST", self._path("chain"), self._body(ref, 10_000), ref, ALIVE_SECONDS
            )
            execution_id = str(answer.body["execution_id"])
            while answer.body["status"] != "SUCCESS" and steady() < begun + ALIVE_SECONDS:
                path = f"{APP}/executions/{execution_id}?wait_ms=5000"
                answer = await self._stage.client.insist([victim.url], "GET", path, seconds=ALIVE_SECONDS)
            if answer.body["status"] != "SUCCESS":
                cell.sick = f"{execution_id} is {answer.body['status']} after {steady() - begun:.0f} s"
            cell.promises.append(Promise(ref, execution_id, wall()))
        except (GaveUp, Lost, KeyError, TypeError) as error:
            cell.sick = f"{type(error).__name__}: {error}"[:300]

    def _first(self, victim: Server) -> Callable[[], Sequence[str]]:
        """For one call: the victim, then whoever runs."""
        turns = iter([[victim.url]] if victim.process.is_running else [])
        return lambda: next(turns, None) or self._stage.running()

    def _path(self, workflow: str) -> str:
        return f"{APP}/workflows/{self._workflows[workflow]}/execute"

    def _body(self, ref: str, wait_ms: int = 0) -> dict[str, object]:
        return {"inputs": {"ref": ref}, "wait_ms": wait_ms}

    async def _start(self, workflow: str, cell: Cell, victim: Server) -> Promise:
        self._count += 1
        ref = f"{cell}-{self._count}"
        path, body = self._path(workflow), self._body(ref)
        answer = await self._stage.client.insist(self._first(victim), "POST", path, body, ref)
        return Promise(ref, str(answer.body["execution_id"]), wall())

    async def _pause(self, cell: Cell, victim: Server) -> None:
        cell.promises.append(await self._start("paused", cell, victim))

    async def _beget(self, cell: Cell, victim: Server) -> None:
        cell.families.append(await self._start("family", cell, victim))

    async def _decide(self, cell: Cell, victim: Server) -> None:
        promise = await self._start("approval", cell, victim)
        cell.promises.append(promise)
        client, path = self._stage.client, f"{APP}/approvals?status=pending&execution_id={promise.execution_id}"
        found: list[dict[str, str]] = []

        async def is_asked() -> bool:
            nonlocal found
            found = (await client.insist(self._stage.running, "GET", path)).body["approvals"]
            return bool(found)

        await self._stage.until(f"{promise.ref} asks", is_asked, 60)
        path = f"{APP}/approvals/{found[0]['approval_id']}/decide"
        await client.insist(self._first(victim), "POST", path, {"decision": "approve"})

    async def _signal(self, cell: Cell, victim: Server) -> None:
        promise = await self._start("signal", cell, victim)
        cell.promises.append(promise)
        body, path = {"name": "go", "signal_id": promise.ref}, f"{APP}/executions/{promise.execution_id}/signal"
        await self._stage.client.insist(self._first(victim), "POST", path, body)

    async def _cancel(self, workflow: str, cell: Cell, victim: Server) -> None:
        promise = await self._start(workflow, cell, victim)
        cell.cancelled.append(promise)
        path = f"{APP}/executions/{promise.execution_id}/cancel"
        await self._stage.client.insist(self._first(victim), "POST", path, {})
