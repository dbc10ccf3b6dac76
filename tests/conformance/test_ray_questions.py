"""What attempts on a host ask of servers, while these and the ways to them come and go. No Ray is needed around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from uuid import UUID

import msgspec
import pytest

from conformance.executor_trial import KeptBlobs
from interlock.backends.executor.pool.messages import Erred
from interlock.backends.executor.ray.answers import Answers
from interlock.backends.executor.ray.host import Host
from interlock.backends.executor.ray.mail import Mail
from interlock.backends.executor.ray.messages import (
    Call,
    HostPlan,
    Keep,
    Question,
    Reply,
    Run,
    Seek,
    Send,
    Told,
    read_from_host,
)
from interlock.backends.executor.ray.questions import Questions
from interlock.backends.executor.ray.sessions import Session
from interlock.backends.executor.results import Away
from interlock.backends.executor.services import Host as Shared
from interlock.core.commands import AttemptLost
from interlock.ports.egress import EgressResponse
from interlock.ports.node import Attempt
from ray_house import ray_environment, until

PLAN = HostPlan(
    registry="conformance.ray_probe:load", environment={"PYTHONPATH": ray_environment()["PYTHONPATH"]}, size=2
)
SOON = 20.0
_numbers = count(1_000_000)


@dataclass
class Door:
    """Egress and blobs that answer once they are let. ``calls`` is how often something was asked."""

    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    calls: int = 0
    kept: KeptBlobs = field(default_factory=KeptBlobs)
    is_shared: bool = False

    async def put(self, tenant_id: str, content: bytes) -> str:
        self.calls += 1
        await self.may_answer.wait()
        return await self.kept.put(tenant_id, content)

    async def request(self, method: str, url: str, **given: Any) -> EgressResponse:
        self.calls += 1
        await self.may_answer.wait()
        return EgressResponse(status=200, headers={}, body=b"once", truncated=False)


def attempt_to(do: str) -> Attempt:
    """An attempt of an execution of its own."""
    return Attempt(
        execution_id=UUID(int=next(_numbers)),
        tenant_id="tenant",
        task_id="task",
        node_id="task",
        attempt=1,
        node_type="probe",
        parameters={"do": do, "name": "kept.txt", "text": "kept", "url": "https://elsewhere.example/"},
        timeout=SOON,
        trace_id="trace",
    )


class Server:
    """One that answers, and has a driver in front of the host. It answers nothing while it is ``frozen``."""

    def __init__(self, host: Host, session: str) -> None:
        self.host = host
        self.session = session
        self.door = Door()
        self.heard: list[Told] = []
        self.asked: list[Question] = []
        self.is_frozen = False
        self.is_deaf = False
        self.answered = 0
        self.mail = Mail(session, self._through_driver, self._hear, lambda worker: None)
        self._answers = Answers(Shared(self.door, self.door), None, self._reply)  # type: ignore[arg-type]
        self._driving: asyncio.Task[None] | None = None
        self._taking: set[asyncio.Task[None]] = set()

    async def drive(self, *, has_road: bool = False) -> None:
        """A driver comes, and meets the host."""
        way = await self.host.greet(self.session)
        met = asyncio.Event()
        self.mail.find_way("w", way if has_road else None, lambda worker: met.set())
        await asyncio.wait_for(met.wait(), SOON)
        self._driving = asyncio.create_task(self._bring_back())

    async def _bring_back(self) -> None:
        number = 0
        while True:
            last, lines = await self.host.give(self.session, number, 100)
            number = last or number
            for line in lines:
                self._hear("w", line)

    async def lose_driver(self) -> None:
        """It is dead, with all that was on its way."""
        assert self._driving is not None
        self._driving.cancel()
        await asyncio.wait((self._driving,))
        self._driving = None
        self.mail.forget_all()

    def _through_driver(self, send: Send) -> None:
        if self._driving is not None:
            task = asyncio.create_task(self.host.take(self.session, send.lines))
            self._taking.add(task)
            task.add_done_callback(self._taking.discard)

    def _hear(self, worker: str, line: bytes) -> None:
        message = read_from_host.decode(line)
        if isinstance(message, Told):
            self.heard.append(message)
        elif isinstance(message, Keep | Call):
            self.asked.append(message)
            if not self.is_frozen:
                self._answers.answer_later(worker, message)

    def _reply(self, worker: str, reply: Reply) -> None:
        self.answered += 1
        if not self.is_deaf:
            self.mail.send(worker, reply)

    async def run(self, do: str) -> Attempt:
        """Send an attempt, and return once it has asked."""
        before = len(self.asked)
        attempt = attempt_to(do)
        self.mail.send("w", Run(attempt=attempt))
        await until(lambda: len(self.asked) > before, "the question", SOON)
        return attempt

    async def end(self) -> Any:
        """What became of the only attempt."""
        await until(lambda: self.heard, "the end", SOON)
        assert len(self.heard) == 1
        report = self.heard[0].report
        assert not isinstance(report, Erred), report
        return report.result

    async def has_confirmed(self) -> None:
        """The host knows that all its lines have arrived."""
        await until(lambda: not self.host._sessions[self.session]._lines, "the confirmation", SOON)


@pytest.fixture(scope="module")
async def host() -> AsyncIterator[Host]:
    host = Host(msgspec.json.encode(PLAN), 2)
    yield host
    await host._stop_all()  # what ``leave`` does, but for the end of the process
    assert host._watch is not None
    host._watch.cancel()  # it ends the process that a host is once nobody talks to it any more


@asynccontextmanager
async def served(host: Host, session: str, *, has_road: bool = False) -> AsyncIterator[Server]:
    """A server with a driver; in the end the host knows neither."""
    server = Server(host, session)
    await server.drive(has_road=has_road)
    yield server
    if server._driving is not None:
        await server.lose_driver()
    server._answers.stop()
    host._drop(session)


def lost(result: Any) -> str:
    """Why an attempt was lost that may have had its effect."""
    assert isinstance(result, AttemptLost), result
    assert (result.crashed, result.has_begun) == (False, True)
    assert result.error is not None
    return result.error.code


async def test_the_server_whose_attempt_asks_is_asked(host: Host) -> None:
    async with served(host, "own") as own, served(host, "other") as other:
        own.door.may_answer.set()
        await until(lambda: host._sessions["other"].readers, "the other one to listen", SOON)
        host._sessions["other"].seen_at += 60.0  # it is the one that was heard last
        await own.run("write")
        assert (await own.end()).artifacts[0].name == "kept.txt"
        assert other.asked == []


@pytest.mark.parametrize("do", ["write", "call"])
@pytest.mark.parametrize("has_road", [False, True])
async def test_an_answer_that_comes_after_its_way_has_broken_takes_the_next_one(
    host: Host, do: str, has_road: bool
) -> None:
    async with served(host, "slow", has_road=has_road) as server:
        await server.run(do)
        await server.has_confirmed()
        await server.lose_driver()
        await server.drive(has_road=has_road)
        await until(lambda: len(server.asked) == 2, "the same question", SOON)
        assert server.asked[0] == server.asked[1]
        server.door.may_answer.set()
        assert (await server.end()).output
        assert server.door.calls == 1


async def test_an_answer_that_was_lost_with_the_driver_is_given_again(host: Host) -> None:
    async with served(host, "again") as server:
        await server.run("write")
        await lose_an_answer(server)
        await server.drive()
        assert (await server.end()).artifacts[0].name == "kept.txt"
        assert server.door.calls == 2


async def test_a_call_whose_answer_was_lost_is_not_made_again_and_its_attempt_is_lost(host: Host) -> None:
    async with served(host, "once") as server:
        await server.run("call")
        await lose_an_answer(server)
        await server.drive()
        assert lost(await server.end()) == "ANSWER_LOST"
        assert server.door.calls == 1


async def lose_an_answer(server: Server) -> None:
    """A question has arrived, and the driver dies with the answer."""
    await server.has_confirmed()
    await server.lose_driver()
    server.door.may_answer.set()
    await until(lambda: server.answered == 1, "the answer", SOON)


async def test_an_answer_that_was_lost_with_the_road_is_given_again_by_a_call(host: Host) -> None:
    async with served(host, "road", has_road=True) as server:
        await server.run("write")
        await server.has_confirmed()
        server.is_deaf = True  # what is written to a road that is being cut goes nowhere
        server.door.may_answer.set()
        await until(lambda: server.answered == 1, "the answer", SOON)
        server.is_deaf = False
        server.mail._roads["w"].close()
        assert (await server.end()).artifacts[0].name == "kept.txt"


async def test_whoever_takes_an_attempt_over_is_asked_from_then_on(host: Host) -> None:
    async with served(host, "dead") as dead, served(host, "heir") as heir:
        heir.door.may_answer.set()
        attempt = await dead.run("write")
        heir.mail.send("w", Seek(execution_id=attempt.execution_id, task_id="task", attempt=1))
        assert (await heir.end()).artifacts[0].name == "kept.txt"
        assert [type(each) for each in heir.asked] == [Keep]


async def test_whoever_takes_an_attempt_over_whose_call_is_under_way_hears_that_it_is_lost(host: Host) -> None:
    async with served(host, "dead caller") as dead, served(host, "heir of it") as heir:
        attempt = await dead.run("call")
        heir.mail.send("w", Seek(execution_id=attempt.execution_id, task_id="task", attempt=1))
        assert lost(await heir.end()) == "SERVER_GONE"
        assert heir.asked == []


async def test_what_a_server_was_asked_that_is_gone_another_one_is_asked(host: Host) -> None:
    async with served(host, "away for a moment") as own, served(host, "asked instead") as other:
        other.is_frozen = True
        own.door.may_answer.set()
        await own.lose_driver()
        host._sessions[own.session].seen_at -= 60.0
        attempt = await run_unheard(own)
        await until(lambda: other.asked, "the question", SOON)
        await own.drive()
        host._drop(other.session)
        assert (await own.end()).artifacts[0].name == "kept.txt"
        assert attempt.execution_id == own.heard[0].execution_id


async def run_unheard(server: Server) -> Attempt:
    """Have the host run an attempt of a server that is not there."""
    session = server.host._sessions[server.session]
    pool = server.host._pool
    assert pool is not None
    attempt = attempt_to("write")
    server.host._run(pool, session, Run(attempt=attempt))
    return attempt


async def test_every_question_has_an_end() -> None:
    nobody = Questions(lambda key: None)
    with pytest.raises(Away, match="is gone"):
        await nobody.get("tenant", "0" * 64)
    silent = Questions(lambda key: Session(lambda: 0.0), answering=0.05)
    for asking in (
        silent.get("tenant", "0" * 64),
        silent.put("tenant", b""),
        silent.fetch("tenant", "0" * 64),
        silent.request("GET", "https://a.example/", headers={}, body=None, timeout=0.05, max_bytes=1),
    ):
        with pytest.raises(Away, match="did not answer"):
            await asking
    assert silent._waiting == {}
