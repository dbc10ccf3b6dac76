"""The actor on a node: runs attempts in children of its own, for the servers of one installation.

A composition root of its own, like ``pool/child``: it is told by dotted paths where node types and environment come
from, and reaches everything else through a server. Needs Ray's actors around it, and does not know them.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from interlock.backends.executor.pool.executor import PoolExecutor
from interlock.backends.executor.ray.messages import (
    Cancel,
    HostPlan,
    NotHere,
    Run,
    Said,
    Seek,
    Way,
    read_to_host,
    tell,
    write_line,
)
from interlock.backends.executor.ray.questions import Questions, RemoteShelf
from interlock.backends.executor.ray.remote_log import RemoteLog
from interlock.backends.executor.ray.road import Gate, Lines, RoadEnd
from interlock.backends.executor.ray.sessions import Key, Session, Work
from interlock.core.commands import TaskReported
from interlock.core.node_type import NodeType
from interlock.ports.blobs import Blobs
from interlock.ports.code import CodeShelf
from interlock.ports.egress import Egress
from interlock.ports.executor import Executor, Result
from interlock.ports.task_log import TaskLog

GRACE = 60.0
"""Seconds that attempts of a server go on without it; a host that no server talks to for so long ends."""
PARKED = 10.0
"""Seconds for which ``give`` waits for something to give."""
GATHERED = 0.01
"""Seconds for which reports gather while attempts wait for a child: each call costs a millisecond on both sides."""
_WATCHED = 1.0
_MIN_CHILDREN = 4


@dataclass(frozen=True)
class Tools:
    """What executors on a node are made of. ``children`` is how many processes there may be at a time."""

    egress: Egress
    blobs: Blobs
    code: CodeShelf
    children: int
    environment: Mapping[str, str]
    given: Mapping[str, Any]
    task_log: TaskLog


class Host:
    """Runs attempts. All methods run on the actor's event loop."""

    def __init__(self, plan: bytes, cores: int, grace: float = GRACE) -> None:
        self._plan = msgspec.json.decode(plan, type=HostPlan)
        self._cores = cores
        self._grace = grace
        self._sessions: dict[str, Session] = {}
        self._works: dict[Key, Work] = {}
        self._questions = Questions(self._find_listener)
        self._pool: PoolExecutor | None = None
        self._others: Mapping[str, Executor] = {}
        self._types: Mapping[str, NodeType] = {}
        self._opening = asyncio.Lock()
        self._gate = Gate(self._enter, self._hear, self._cut)
        self._on_roads: dict[RoadEnd, Session] = {}
        self._watch: asyncio.Task[None] | None = None

    async def greet(self, session: str) -> Way | None:
        """A server, or its next driver, begins to talk; it gets all it has not confirmed once more.

        How it can come straight here, if it is on this machine.
        """
        await self._open()
        self._questions.repeat(self._session(session))
        return await self._gate.open()

    async def take(self, session: str, lines: list[bytes]) -> None:
        """Act on lines in their order."""
        pool = await self._open()
        self._act(pool, self._session(session), lines)

    def _act(self, pool: PoolExecutor, teller: Session, lines: list[bytes]) -> None:
        for line in lines:
            message = read_to_host.decode(line)
            if isinstance(message, Run):
                self._run(pool, teller, message)
            elif isinstance(message, Cancel):
                self._cancel(teller, (message.execution_id, message.task_id))
            elif isinstance(message, Seek):
                self._seek(teller, message)
            else:
                self._questions.answer(message)

    async def give(self, session: str, confirmed: int, most: int) -> tuple[int, list[bytes]]:
        """The lines after number ``confirmed``, ``most`` of them, and the last one's number; none if none come."""
        teller = self._session(session)
        self._confirm(teller, confirmed)
        await asyncio.sleep(self._gathering())
        return await teller.read(PARKED, most)

    def _confirm(self, teller: Session, number: int) -> None:
        for work in teller.confirm(number):
            if self._works.get(work.key) is work:
                del self._works[work.key]

    def _gathering(self) -> float:
        """Seconds that lines gather: whoever is behind others in a line waits for longer than this anyway."""
        return GATHERED if self._pool is not None and self._pool.waiting else 0.0

    async def leave(self, session: str) -> None:
        """A server goes: what runs for it is dead when this returns. The last one takes the host along."""
        self._drop(session)
        if self._pool is not None:
            await self._pool.settle(5.0)
        if not self._sessions:
            await self._stop_all()
            asyncio.get_running_loop().call_later(0.2, os._exit, 0)  # after the answer to this call is out

    # Servers of this machine -------------------------------------------------------------------------------

    def _enter(self, session: str, road: RoadEnd) -> None:
        self._on_roads[road] = teller = self._session(session)
        teller.open_road(road)

    def _hear(self, road: RoadEnd, said: Lines) -> None:
        teller = self._on_roads[road]
        teller.seen_at = time.monotonic()
        self._confirm(teller, said.number)
        if said.lines and self._pool is not None:
            self._act(self._pool, teller, said.lines)

    def _cut(self, road: RoadEnd) -> None:
        teller = self._on_roads.pop(road)
        teller.close_road(road)
        self._questions.repeat(teller)

    # The pool ----------------------------------------------------------------------------------------------

    async def _open(self) -> PoolExecutor:
        """The pool, made when it is first needed, on the loop that uses it."""
        if self._watch is None:
            self._watch = asyncio.get_running_loop().create_task(self._watch_sessions())
        async with self._opening:
            return self._pool or await self._make_pool()

    async def _make_pool(self) -> PoolExecutor:
        plan, asks = self._plan, self._questions
        size = plan.size or max(_MIN_CHILDREN, self._cores)
        environment = plan.environment if isinstance(plan.environment, dict) else _load(plan.environment)()
        if plan.places:
            self._types = _load(plan.registry)().types
            tools = Tools(asks, asks, RemoteShelf(asks), size, environment, plan.given, RemoteLog(self._pass_on))
            self._others = _load(plan.places)(tools)
        pool = PoolExecutor(plan.registry, asks, asks, size=size, environment=environment)
        for executor in (pool, *self._others.values()):
            await executor.start()
        self._pool = pool
        return pool

    async def _stop_all(self) -> None:
        self._gate.close()
        for executor in (self._pool, *self._others.values()):
            if executor is not None:
                await executor.stop(5.0)

    def _session(self, name: str) -> Session:
        found = self._sessions.get(name)
        if found is None:
            found = self._sessions[name] = Session(self._gathering)
        found.seen_at = time.monotonic()
        return found

    def _find_listener(self, key: Key | None) -> Session | None:
        """The server whose attempt asks, if it was heard just now; else any: all have the same blobs and rules."""
        work = self._works.get(key) if key is not None else None
        if work is not None and work.teller.is_near:
            return work.teller
        return max(self._sessions.values(), key=lambda session: (session.is_heard, session.seen_at), default=None)

    # Attempts ----------------------------------------------------------------------------------------------

    def _run(self, pool: PoolExecutor, teller: Session, run: Run) -> None:
        attempt = run.attempt
        key = (attempt.execution_id, attempt.task_id)
        known = self._works.get(key)
        if known is not None and known.attempt == attempt.attempt:
            known.teller = teller  # the same line again, from a driver that did not know that it had arrived
            return
        if known is not None and known.attempt > attempt.attempt:
            self._miss(teller, key, attempt.attempt)  # of a server that does not know yet that another went on
            return
        work = self._works[key] = Work(key, attempt.attempt, teller)
        found = self._types.get(attempt.node_type)
        executor = self._others.get(found.place, pool) if found is not None else pool
        executor.submit(attempt, lambda execution_id, result: self._report(work, execution_id, result))

    def _report(self, work: Work, execution_id: UUID, result: Result) -> None:
        line = write_line(tell(execution_id, result))
        if isinstance(result, TaskReported):
            work.teller.say(line)
            return
        work.ending = line
        work.teller.say(line, work)

    def _pass_on(self, said: Said) -> None:
        """What an attempt printed, to whoever will hear of its end."""
        work = self._works.get((said.execution_id, said.task_id))
        if work is not None and work.attempt == said.attempt:
            work.teller.say(write_line(said))

    def _seek(self, teller: Session, seek: Seek) -> None:
        work = self._works.get((seek.execution_id, seek.task_id))
        if work is None or work.attempt != seek.attempt:
            self._miss(teller, (seek.execution_id, seek.task_id), seek.attempt)
            return
        if work.teller is teller:
            return
        self._miss(work.teller, work.key, work.attempt)  # or it would wait for what it will not hear
        work.teller = teller
        self._questions.follow(work.key)
        if work.ending:
            teller.say(work.ending, work)

    def _miss(self, teller: Session, key: Key, attempt: int) -> None:
        teller.say(write_line(NotHere(execution_id=key[0], task_id=key[1], attempt=attempt)))

    def _cancel(self, teller: Session, key: Key) -> None:
        """End an attempt, unless another server has taken it over."""
        work = self._works.get(key)
        if work is not None and work.teller is teller:
            self._end(key)

    def _end(self, key: Key) -> None:
        self._works.pop(key, None)
        for executor in (self._pool, *self._others.values()):
            if executor is not None:
                executor.cancel(*key)

    # Servers that go ---------------------------------------------------------------------------------------

    def _drop(self, name: str) -> None:
        session = self._sessions.pop(name, None)
        if session is None:
            return
        session.end_road()
        for key in [key for key, work in self._works.items() if work.teller is session]:
            self._end(key)
        self._questions.forget(session)

    async def _watch_sessions(self) -> None:
        quiet_since = time.monotonic()
        while True:
            await asyncio.sleep(min(_WATCHED, self._grace / 4))
            now = time.monotonic()
            for name, session in list(self._sessions.items()):
                if not session.is_heard and now - session.seen_at > self._grace:
                    self._drop(name)
            if self._sessions:
                quiet_since = now
            elif now - quiet_since > self._grace:
                await self._stop_all()
                os._exit(0)


def _load(path: str) -> Callable[..., Any]:
    module, _, name = path.partition(":")
    loaded: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return loaded
