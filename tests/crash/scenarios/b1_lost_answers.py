"""B1: commits whose answer is lost on its way back, to the server and to the client; repeats with the same key."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import cycle
from uuid import UUID

from crash.client import APP, Lost
from crash.clock import wall
from crash.faultproxy import FaultProxy, Loss, tcp
from crash.judge import check_common, check_promises, check_steps
from crash.load import Promise
from crash.server import Server
from crash.stage import Stage
from crash.workflows import chain, resting

TITLE = "answers to commits lost, then repeated with the same key"
LOSS_SECONDS = 15.0
STORMS = 3
STORM_STARTS = 10
DECISIONS = """
select count(*) from interlock.events where execution_id = $1 and type = $2"""


class Trials:
    """One server behind a proxy to Postgres, and a proxy in front of it."""

    def __init__(self, stage: Stage, server: Server, to_database: FaultProxy, to_server: FaultProxy) -> None:
        self.stage = stage
        self.server = server
        self.to_database = to_database
        self.to_server = to_server
        self.edge = f"http://127.0.0.1:{to_server.port}"
        self.chain = self.approval = self.signal = ""
        self.promises: list[Promise] = []
        self.resting: list[tuple[Promise, str]] = []  # with the event that must be there once
        self.hits: dict[str, int] = {}
        self.wrong: list[str] = []

    async def prepare(self) -> None:
        """Store the workflows."""
        self.chain = await self.stage.store(chain(self.stage.sink, 2))
        self.approval = await self.stage.store(resting(self.stage.sink, "approval"))
        self.signal = await self.stage.store(resting(self.stage.sink, "signal"))

    async def _begin(self, workflow_id: str, ref: str, wait_ms: int = 0) -> str:
        return await self.stage.start(workflow_id, ref, wait_ms, self.server.url)

    async def _hit(self, name: str, loss: Loss) -> None:
        try:
            await asyncio.wait_for(loss.done.wait(), LOSS_SECONDS)
        except TimeoutError:
            return
        self.hits[name] = self.hits.get(name, 0) + bool(loss.swallowed)

    async def start(self, ref: str) -> None:
        """The commit of a start; the repeat must name the same execution."""
        loss = self.to_database.lose_answer(ref.encode())
        execution_id = await self._begin(self.chain, ref)
        await self._hit("lost_start", loss)
        await self._repeat(self.chain, ref, execution_id)
        self.promises.append(Promise(ref, execution_id, wall()))

    async def answer(self, ref: str) -> None:
        """The answer of the server itself."""
        loss = self.to_server.lose_answer(ref.encode())
        body, path = {"inputs": {"ref": ref}, "wait_ms": 0}, f"{APP}/workflows/{self.chain}/execute"
        try:
            answer = await self.stage.client.call(self.edge, "POST", path, body, ref)
            self.wrong.append(f"{ref}: an answer that should be lost came: {answer}")
        except Lost:
            await self._hit("lost_answer", loss)
        execution_id = await self._begin(self.chain, ref)
        await self._repeat(self.chain, ref, execution_id)
        self.promises.append(Promise(ref, execution_id, wall()))

    async def result(self, ref: str) -> None:
        """The commit of a task's result."""
        loss = self.to_database.lose_answer(f"{ref}:s1:done".encode())
        execution_id = await self._begin(self.chain, ref)
        await self._hit("lost_result", loss)
        self.promises.append(Promise(ref, execution_id, wall()))

    async def decision(self, ref: str) -> None:
        """The commit of a decision; the repeat must say the same."""
        execution_id = await self._begin(self.approval, ref, 10_000)
        path = f"{APP}/approvals?status=pending&execution_id={execution_id}"
        found = (await self.stage.client.insist([self.server.url], "GET", path)).body["approvals"]
        loss = self.to_database.lose_answer(f"because-{ref}".encode())
        body = {"decision": "approve", "reason": f"because-{ref}"}
        path = f"{APP}/approvals/{found[0]['approval_id']}/decide"
        answers = [await self.stage.client.insist([self.server.url], "POST", path, body) for _ in range(2)]
        await self._hit("lost_decision", loss)
        if [(answer.status, answer.body.get("status")) for answer in answers] != [(200, "approved")] * 2:
            self.wrong.append(f"{ref}: the decision was answered {answers}")
        self.resting.append((Promise(ref, execution_id, wall()), "approval.decided"))

    async def send(self, ref: str) -> None:
        """The commit of a signal; the repeat is the same signal."""
        execution_id = await self._begin(self.signal, ref, 10_000)
        loss = self.to_database.lose_answer(f"payload-{ref}".encode())
        body = {"name": "go", "payload": f"payload-{ref}", "signal_id": ref}
        path = f"{APP}/executions/{execution_id}/signal"
        answer = await self.stage.client.insist([self.server.url], "POST", path, body)
        await self._hit("lost_signal", loss)
        if answer.status != 200:
            self.wrong.append(f"{ref}: the signal was answered {answer}")
        self.resting.append((Promise(ref, execution_id, wall()), "signal.received"))

    async def storm(self, number: int) -> None:
        """All answers held back for a while under load, then every connection reset."""
        refs = [f"storm-{number}-{start}" for start in range(STORM_STARTS)]
        starts = [asyncio.create_task(self._begin(self.chain, ref)) for ref in refs]
        await asyncio.sleep(0.02)
        self.to_database.holds_answers = True
        await asyncio.sleep(self.stage.random.uniform(0.2, 1.5))
        self.to_database.reset_all()
        self.to_database.holds_answers = False
        for ref, execution_id in zip(refs, await asyncio.gather(*starts), strict=True):
            await self._repeat(self.chain, ref, execution_id)
            self.promises.append(Promise(ref, execution_id, wall()))

    async def _repeat(self, workflow_id: str, ref: str, execution_id: str) -> None:
        again = await self._begin(workflow_id, ref)
        if again != execution_id:
            self.wrong.append(f"{ref}: first {execution_id}, repeated {again}")


async def run(stage: Stage) -> None:
    """Losses of every kind in turn, then storms, then everything must have happened once."""
    verdict = stage.verdict
    to_database = await stage.add_proxy()
    server = await stage.add_server("behind", stage.database.through(to_database.port))
    to_server = FaultProxy(tcp(server.port))
    await stage.keep(to_server)
    trials = Trials(stage, server, to_database, to_server)
    await trials.prepare()
    kinds: tuple[Callable[[str], Awaitable[None]], ...] = (
        trials.start,
        trials.answer,
        trials.result,
        trials.decision,
        trials.send,
    )
    for number, (lose, _) in enumerate(zip(cycle(kinds), range(stage.scale.b1_losses), strict=False)):
        await lose(f"loss-{number}")
    for number in range(STORMS):
        await trials.storm(number)
    drain = await stage.drain()
    await _judge(stage, trials)
    await check_common(stage)
    await stage.prove_health(trials.chain)
    verdict.injections |= trials.hits | {"storms": STORMS, "resets": to_database.resets + to_server.resets}
    verdict.counts |= {
        "unknown_outcomes_in_the_log": server.count_logged("journal.outcome_unknown"),
        "unclear_answers_to_clients": stage.client.unclear,
    }
    verdict.figures["drain_s"] = round(drain, 2)
    hits = sum(trials.hits.values())
    verdict.prove("the answers were really lost", hits >= stage.scale.b1_losses, trials.hits)
    verdict.prove("the journal met unknown outcomes", verdict.counts["unknown_outcomes_in_the_log"] > 0)


async def _judge(stage: Stage, trials: Trials) -> None:
    verdict = stage.verdict
    verdict.expect_none("repeats say what the first answer said", trials.wrong)
    await check_promises(stage, [*trials.promises, *(promise for promise, _ in trials.resting)])
    await check_steps(stage, trials.promises, ["s1", "s2"])
    await check_steps(stage, [promise for promise, _ in trials.resting], ["before", "rest", "after"][::2])
    wrong = []
    for promise, event in trials.resting:
        count = await stage.observer.value(DECISIONS, UUID(promise.execution_id), event)
        if count != 1:
            wrong.append(f"{promise.execution_id}: {count} times {event}")
    verdict.expect_none("each decision and signal is recorded once", wrong)
