"""The straight way between a server and a host on its machine. A host needs no Ray around it, so none is here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from interlock.backends.executor.ray import road as module
from interlock.backends.executor.ray.host import Host
from interlock.backends.executor.ray.mail import Mail
from interlock.backends.executor.ray.messages import HostPlan, NotHere, Run, Send, Told, Way, read_from_host
from interlock.backends.executor.ray.road import Enter, Gate, Lines, RoadEnd, take_road
from interlock.ports.node import Attempt
from ray_house import ray_environment, until

PLAN = HostPlan(
    registry="conformance.ray_probe:load", environment={"PYTHONPATH": ray_environment()["PYTHONPATH"]}, size=2
)
SOON = 20.0
_numbers = count(1)


class Server:
    """One that talks to a host, and what it hears."""

    def __init__(self, session: str) -> None:
        self.heard: list[Told] = []
        self.called: list[Send] = []
        self.cut: list[str] = []
        self.missed: list[NotHere] = []
        self.again: UUID | None = None
        self.sent = UUID(int=0)
        self.mail = Mail(session, self.called.append, self._hear, self.cut.append)

    def _hear(self, worker: str, line: bytes) -> None:
        told = read_from_host.decode(line)
        assert worker == "w"
        if isinstance(told, NotHere):
            self.missed.append(told)
        else:
            assert isinstance(told, Told)
            self.heard.append(told)

    async def meet(self, way: Way | None) -> None:
        """Find the way to a host."""
        met = asyncio.Event()
        self.mail.find_way("w", way, lambda worker: met.set())
        await asyncio.wait_for(met.wait(), SOON)

    def run(self, node_type: str, *, number: int = 1, **parameters: Any) -> None:
        """Send an attempt of an execution of its own, or of that of ``again``."""
        self.sent = self.again or UUID(int=next(_numbers))
        attempt = Attempt(
            execution_id=self.sent,
            tenant_id="tenant",
            task_id="task",
            node_id="task",
            attempt=number,
            node_type=node_type,
            parameters=parameters,
            timeout=SOON,
            trace_id="trace",
        )
        self.mail.send("w", Run(attempt=attempt))


def outputs(heard: list[Told]) -> list[Any]:
    """What succeeded attempts gave, echoes unpacked."""
    found = [told.report.result.output for told in heard if hasattr(told.report.result, "output")]
    return [each.get("echo", each) for each in found]


@pytest.fixture(scope="module")
async def host() -> AsyncIterator[Host]:
    host = Host(msgspec.json.encode(PLAN), 2)
    yield host
    await host._stop_all()  # what ``leave`` does, but for the end of the process
    assert host._watch is not None
    host._watch.cancel()  # it ends the process that a host is once nobody talks to it any more


@asynccontextmanager
async def met(host: Host, session: str) -> AsyncIterator[Server]:
    """A server with a road to the host."""
    server = Server(session)
    way = await host.greet(session)
    assert way is not None
    await server.meet(way)
    yield server
    server.mail.forget_all()


async def test_attempts_go_there_and_results_come_back_without_a_call(host: Host) -> None:
    async with met(host, "quick") as server:
        for number in range(50):
            server.run("echo", input=number)
        await until(lambda: len(server.heard) == 50, "the results", SOON)
        assert sorted(outputs(server.heard)) == list(range(50))
        assert server.called == []


async def test_what_is_confirmed_on_the_road_is_forgotten_and_not_given_again(host: Host) -> None:
    async with met(host, "confirming") as server:
        server.run("echo", input="once")
        await until(lambda: server.heard, "the result", SOON)
        await until(lambda: not host._sessions["confirming"]._lines, "the confirmation", SOON)
    assert host._sessions["confirming"] not in [work.teller for work in host._works.values()]


async def test_a_call_gives_nothing_beside_the_road_and_all_that_was_not_confirmed_once_it_is_cut(
    host: Host, tmp_path: Path
) -> None:
    async with met(host, "cut") as server:
        giving = asyncio.create_task(host.give("cut", 0, 100))
        server.run("echo", input="on the road")
        server.run("held", folder=str(tmp_path))
        await until(lambda: server.heard and (tmp_path / "begun").exists(), "both to begin", SOON)
        await until(lambda: not host._sessions["cut"]._lines, "the confirmation", SOON)
        assert not giving.done()
        server.mail._roads["w"].close()
        await until(lambda: server.cut == ["w"], "the cut", SOON)
        (tmp_path / "go").touch()
        number, lines = await asyncio.wait_for(giving, SOON)
        assert number == 2
        assert [told["attempt"] for told in outputs([read_from_host.decode(line) for line in lines])] == [1]  # type: ignore[misc]
        server.run("echo", input="by a call")
        await until(lambda: server.called, "the call", SOON)


async def test_a_server_that_comes_back_gets_what_it_has_not_confirmed(host: Host) -> None:
    async with met(host, "again") as server:
        server.run("echo", input="confirmed")
        await until(lambda: server.heard, "the result", SOON)
        await until(lambda: not host._sessions["again"]._lines, "the confirmation", SOON)
    host._sessions["again"].say(
        b'{"say":"nothere","execution_id":"%s","task_id":"t","attempt":1}' % str(UUID(int=0)).encode()
    )
    number, lines = await host.give("again", 0, 100)
    assert (number, len(lines)) == (2, 1)
    heard: list[bytes] = []
    mail = Mail("again", lambda sent: None, lambda worker, line: heard.append(line), lambda worker: None)
    mail.find_way("w", await host.greet("again"), lambda worker: None)
    await until(lambda: heard == lines, "the line once more", SOON)
    mail.forget_all()


async def test_a_late_start_of_an_older_attempt_does_not_end_a_newer_one(host: Host, tmp_path: Path) -> None:
    async with met(host, "newer") as newer, met(host, "older") as older:
        newer.run("held", folder=str(tmp_path), number=2)
        await until((tmp_path / "begun").exists, "the newer one to begin", SOON)
        older.again = newer.sent
        older.run("held", folder=str(tmp_path), number=1)
        await until(lambda: older.missed, "the word that it is not here", SOON)
        (tmp_path / "go").touch()
        await until(lambda: newer.heard, "the result", SOON)
        assert [told["attempt"] for told in outputs(newer.heard)] == [2]


async def test_large_values_fill_the_road_and_arrive(host: Host) -> None:
    async with met(host, "large") as server:
        values = [chr(97 + number) * 3_000_000 for number in range(6)]
        for value in values:
            server.run("echo", input=value)
        await until(lambda: len(server.heard) == len(values), "the results", SOON)
        assert sorted(outputs(server.heard)) == values


async def test_without_a_way_lines_go_by_calls() -> None:
    for way in (None, Way(name="interlock-of-another-machine", key=b"k" * 32)):
        server = Server("far")
        await server.meet(way)
        server.run("echo", input=1)
        await until(lambda server=server: server.called, "the call", SOON)
        assert [len(sent.lines) for sent in server.called] == [1]


async def test_a_road_that_breaks_while_it_is_made_leaves_calls(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    async def break_off(*given: Any, **named: Any) -> None:
        raise ConnectionResetError

    monkeypatch.setattr(asyncio.get_running_loop(), "create_unix_connection", break_off)
    async with met(host, "broken") as server:
        server.run("echo", input=1)
        await until(lambda: server.called, "the call", SOON)


async def test_who_does_not_know_the_key_or_says_nothing_is_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KNOCKING", 0.2)
    entered: list[str] = []
    gate = Gate(lambda session, road: entered.append(session), lambda road, said: None, lambda road: None)
    way = await gate.open()
    assert way is not None
    assert await gate.open() is way

    async def knock(*first: Enter | Lines) -> None:
        gone = asyncio.Event()
        _, road = await asyncio.get_running_loop().create_unix_connection(
            lambda: RoadEnd(lambda road, said: None, lambda road: gone.set()), f"\0{way.name}"
        )
        for said in first:
            road.say(said)
        await asyncio.wait_for(gone.wait(), SOON)

    await knock(Enter("s", b"wrong"))
    await knock(Lines(0, [b"{}"]))
    await knock()
    assert entered == []
    road = await take_road(way, "s", lambda road, said: None, lambda road: None)
    await until(lambda: entered == ["s"], "the entrance", SOON)
    assert road is not None
    gate.close()


async def test_to_a_host_of_another_user_lines_go_by_calls(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_user_of", lambda channel: 4_000_000)
    async with met(host, "other user") as server:
        server.run("echo", input=1)
        await until(lambda: server.called, "the call", SOON)
