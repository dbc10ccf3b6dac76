"""Watch one execution: fold its facts, show them, ask the person in front of the terminal, and say how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import aclosing
from typing import Any, TypeVar

from interlock.core.errors import ErrorKind, InterlockError
from interlock.doors.cli.asking import Answer
from interlock.doors.cli.diagram import read_diagram
from interlock.doors.cli.facts import Fact
from interlock.doors.cli.folding import fold, learn_limits
from interlock.doors.cli.follow import PASSING, Follower, Note
from interlock.doors.cli.picture import Picture, begin
from interlock.doors.cli.screens import Screen
from interlock.doors.cli.server import Server, segment
from interlock.kit.clock import Clock

TICK_SECONDS = 0.25
COUNT_SECONDS = 2.0
RETRY_SECONDS = 1.0

T = TypeVar("T")

Decide = Callable[[Mapping[str, Any]], Coroutine[Any, Any, Answer | None]]
"""Answers an approval; None leaves it open."""

_SETTLED = frozenset({ErrorKind.CONFLICT, ErrorKind.GONE, ErrorKind.NOT_FOUND})


async def picture_of(server: Server, execution_id: str) -> Picture:
    """An empty picture of an execution, with the nodes of the version it pins. Raises NOT_FOUND."""
    execution = await server.get(f"/executions/{segment(execution_id)}")
    workflow = await workflow_of(server, execution)
    return picture_for(execution, workflow)


def picture_for(execution: Mapping[str, Any], workflow: Mapping[str, Any]) -> Picture:
    """An empty picture of an execution object with the nodes of a workflow object."""
    diagram = read_diagram(workflow)
    nodes = [(vertex.node_id, vertex.name, vertex.kind) for vertex in diagram.vertices]
    initial = diagram.roots[0] if diagram.is_flow and diagram.roots else ""
    return begin(str(execution["execution_id"]), str(workflow.get("name") or ""), nodes, initial=initial)


async def workflow_of(server: Server, execution: Mapping[str, Any]) -> dict[str, Any]:
    """The workflow of an execution at its version; empty if it was deleted or its reader may not see it."""
    workflow_id = execution.get("workflow_id")
    if not workflow_id:
        return {}
    try:
        return await server.get(f"/workflows/{segment(str(workflow_id))}", version=execution.get("workflow_version"))
    except InterlockError as error:
        if error.kind is not ErrorKind.NOT_FOUND:
            raise
        return {}


class Watching:
    """One watch of one execution on one screen. Without ``decide`` questions are only pointed at."""

    def __init__(
        self, server: Server, picture: Picture, screen: Screen, clock: Clock, decide: Decide | None = None
    ) -> None:
        self._server = server
        self._picture = picture
        self._screen = screen
        self._follower = Follower(server, picture.execution_id, clock)
        self._decide = decide
        self._put: set[str] = set()  # ids of approvals whose question was put once
        self._changed = asyncio.Event()  # there may be a question to put
        self._question = ""  # the node whose question stands on the screen
        self._settled = asyncio.Event()  # that question is not open any more
        self._is_quiet = False  # the screen belongs to a question
        self._uncounted = asyncio.Event()  # a map or loop began and no frame says how often it turns

    async def run(self) -> Picture:
        """Watch until the execution ends; the last picture. Raises what following or answering cannot get over."""
        tasks = [asyncio.create_task(part()) for part in (self._read, self._tick, self._answer, self._count)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # reading ends with the execution; the others end only by failing
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._screen.close(self._picture)
        return self._picture

    async def _read(self) -> None:
        async with aclosing(self._follower.happenings()) as happenings:
            async for happening in happenings:
                if isinstance(happening, Note):
                    self._screen.note(happening.text)
                else:
                    self._take(happening)

    def _take(self, fact: Fact) -> None:
        fold(self._picture, fact)
        self._screen.fact(fact, self._picture)
        if self._picture.asking:
            self._changed.set()
        if self._question and self._question not in self._picture.asking.values():
            self._question = ""
            self._screen.note("The question is not open any more.")
            self._settled.set()
        if None in self._picture.limits.values():
            self._uncounted.set()

    async def _tick(self) -> None:
        while True:
            if not self._is_quiet:
                self._screen.tick(self._picture)
            await asyncio.sleep(TICK_SECONDS)

    async def _count(self) -> None:
        """Ask how often maps turn whose items were too large for their frame; not more than once in two seconds."""
        while True:
            await self._uncounted.wait()
            learn_limits(self._picture, await self._patiently(self._execution))
            await asyncio.sleep(COUNT_SECONDS)
            self._uncounted.clear()

    async def _answer(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            for approval in await self._patiently(self._pending):
                approval_id = str(approval.get("approval_id"))
                if approval_id not in self._put:
                    self._put.add(approval_id)
                    await self._put_question(approval_id, approval)

    async def _put_question(self, approval_id: str, approval: Mapping[str, Any]) -> None:
        if self._decide is None:
            self._screen.note(f"Answer with `interlock approve {approval_id}` or `interlock deny {approval_id}`.")
            return
        self._is_quiet = True
        self._screen.rest()
        try:
            answer = await self._ask(self._decide, approval)
            while answer is not None and not await self._send(approval_id, answer):
                answer = await self._ask(self._decide, approval)
        finally:
            self._is_quiet = False
            self._screen.resume()

    async def _ask(self, decide: Decide, approval: Mapping[str, Any]) -> Answer | None:
        """The answer; None, and no question on the screen any more, as soon as somebody else has given one."""
        self._settled.clear()
        self._question = str(approval.get("node_id"))
        asking = asyncio.create_task(decide(approval))
        settled = asyncio.create_task(self._settled.wait())
        try:
            await asyncio.wait({asking, settled}, return_when=asyncio.FIRST_COMPLETED)
            return asking.result() if asking.done() else None
        finally:
            self._question = ""
            asking.cancel()
            settled.cancel()
            await asyncio.gather(asking, settled, return_exceptions=True)

    async def _execution(self) -> dict[str, Any]:
        return await self._server.get(f"/executions/{segment(self._picture.execution_id)}")

    async def _pending(self) -> list[dict[str, Any]]:
        return await pending_approvals(self._server, self._picture.execution_id)

    async def _patiently(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What the server answers once it can; the follower knows when it has been away for too long."""
        while True:
            try:
                return await ask()
            except InterlockError as error:
                if error.kind not in PASSING:
                    raise
            await asyncio.sleep(RETRY_SECONDS)

    async def _send(self, approval_id: str, answer: Answer) -> bool:
        """Send an answer. False if it was not right, so that the question is to be put again."""
        try:
            path = f"/approvals/{segment(approval_id)}/decide"
            await self._patiently(lambda: self._server.post(path, answer.body()))
        except InterlockError as error:
            if error.kind is ErrorKind.RULE:
                self._screen.note(f"That answer cannot be taken: {error.message}")
                return False
            if error.kind not in _SETTLED and error.kind is not ErrorKind.DENIED:
                raise
            self._screen.note(error.message)
        return True


async def pending_approvals(server: Server, execution_id: str) -> list[dict[str, Any]]:
    """The open questions of an execution, oldest first."""
    answer = await server.get("/approvals", status="pending", execution_id=execution_id)
    found: list[dict[str, Any]] = answer.get("approvals") or []
    return sorted(found, key=lambda approval: str(approval.get("approval_id")))
