"""Runs over a WebSocket: their frames as things happen, from any number on, for any number of readers."""

from __future__ import annotations

import asyncio
from functools import partial
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Scope

from interlock.core.errors import invalid
from interlock.core.principal import Scope as Permission
from interlock.doors.http.lattice.door import LATTICE
from interlock.doors.http.lattice.frames import RESULT, Telling, frame_of, is_large
from interlock.doors.http.lattice.full_picture import FullPicture
from interlock.doors.http.plumbing.context import Context
from interlock.doors.http.plumbing.operation import Operation, Policy
from interlock.doors.http.plumbing.socket import Socket
from interlock.doors.http.plumbing.socket_route import SocketRoute, asked_after, no_answer, read_after
from interlock.doors.http.plumbing.socket_wire import text_frame
from interlock.doors.http.plumbing.trace import Exchange
from interlock.services.drafts.results import ReadResults
from interlock.services.executions.watch import Fact, Watch
from interlock.services.nouns import LogLine
from interlock.services.sessions.session import shown_id

_WAIT_SECONDS = 30.0
_LOOK_SECONDS = 1.0
"""How often a reader of the full profile is told what is no event."""
_AT_ONCE = 1_048_576
"""Bytes of frames that are sent without waiting for more."""
_PLAIN, _FULL = "lattice", "lattice full"
_WITHOUT_WALLS = ("subprocess", "none")
_UNSANDBOXED = " (unsandboxed)"
_encode = msgspec.json.Encoder().encode

WATCH = Operation(
    method="WS",
    path="/get_workflow_res/{workflow_id}/{run_id}",
    door=LATTICE,
    summary="Watch a run",
    handler=no_answer,
    policy=Policy.LOCAL,
    scope=Permission.EXECUTIONS_READ,
    is_stream=True,
)
"""The policy of the socket: the same that HTTP obeys."""


class RunSocket(SocketRoute):
    """Answers WebSockets at ``/get_workflow_res/{workflow_id}/{run_id}``."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, WATCH)

    async def serve(self, socket: Socket, scope: Scope, exchange: Exchange, path: dict[str, str]) -> None:
        """Serve one connection to its end."""
        context = self.context
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        principal, told_after = await self.authorise(socket, scope, exchange, query)
        await context.limits.admit(WATCH, scope, principal)
        after = read_after(told_after or asked_after(exchange, query) or "0")
        is_full = _wants_all(query.get("profile"))
        row = await context.services.drafts.find_run(principal, path["run_id"], path["workflow_id"])
        watch = await context.services.watch_execution(principal, row.execution_id, after)
        if watch is None:
            await socket.close(1000, "the run has ended")
            return
        try:
            leave = await context.seats.take(WATCH.door.name, principal)
        except BaseException:
            watch.close()
            raise
        mark = _UNSANDBOXED if context.settings.sandbox in _WITHOUT_WALLS else ""
        telling = Telling(str(row.workflow_id), shown_id(row), watch.names, mark)
        full = FullPicture(context.services, watch, telling) if is_full else None
        watching = WatchingRun(watch, telling, context.services.drafts.read_result, full)
        try:
            look = partial(context.services.read_executions.get, principal, row.execution_id)
            await self.converse(socket, watching, _receive_all(socket), exchange, principal, look)
        finally:
            leave()


class WatchingRun:
    """One run, from a number on; the socket is closed behind its last event."""

    def __init__(self, watch: Watch, telling: Telling, read_result: ReadResults, full: FullPicture | None) -> None:
        self._watch = watch
        self._telling = telling
        self._read_result = read_result
        self._full = full
        self._looked_at = 0.0
        self.seq = watch.seq

    async def send_all(self, socket: Socket) -> None:
        """Send frames in order and without gaps, then close normally."""
        while True:
            try:
                facts = await self._watch.next(_WAIT_SECONDS if self._full is None else _LOOK_SECONDS)
            except StopAsyncIteration:
                await socket.close(1000, "the run has ended")
                return
            if self._full is not None:
                await self._full.begin(facts)
            await self._send(socket, facts)
            if self._full is not None and not self._full.is_over:
                await self._look(socket, self._full, is_quiet=not facts)

    async def _send(self, socket: Socket, facts: list[Fact]) -> None:
        """Send what is shown of some facts; a large result goes out by itself, and a task's lines before its end."""
        frames: list[bytes] = []
        for fact in facts:
            if self._full is not None:
                frames += [self._line(line) async for line in self._full.lines_before(fact)]
            if not is_large(fact.record):
                frames.append(self._frame(fact))
                if sum(map(len, frames)) < _AT_ONCE:
                    continue
            else:
                frames.append(await self._large(fact))
            await socket.send_frames([frame for frame in frames if frame])
            frames, self.seq = [], fact.record.seq
        if shown := [frame for frame in frames if frame]:
            await socket.send_frames(shown)
        if facts:
            self.seq = facts[-1].record.seq

    async def _look(self, socket: Socket, full: FullPicture, *, is_quiet: bool) -> None:
        """Send what is no event, once a second: what tasks print that run, and when nothing happens, who waits."""
        now = asyncio.get_running_loop().time()
        if now - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = now
        async for line in full.lines_now():
            await socket.send_frames([self._line(line)])
        if is_quiet and (waits := await full.waiting()):
            await socket.send_frames([text_frame(_encode(frame)) for frame in waits])

    def _line(self, line: LogLine) -> bytes:
        return text_frame(_encode(self._full.frame_of(line))) if self._full is not None else b""

    async def _large(self, fact: Fact) -> bytes:
        """The frame of a task with a large result; made for each reader, since nobody could keep many of them."""
        result = await self._read_result(self._watch.row, fact.record, RESULT)
        found = frame_of(fact.record, self._telling, result)
        return b"" if found is None else text_frame(_encode(found[0]))

    def _frame(self, fact: Fact) -> bytes:
        """A fact as a frame, empty if it is not shown here; made once for all readers."""
        is_full = self._full is not None
        name = _FULL if is_full else _PLAIN
        made = fact.frames.get(name)
        if made is None:
            found = frame_of(fact.record, self._telling)
            is_shown = found is not None and (is_full or found[1])
            made = fact.frames[name] = text_frame(_encode(found[0])) if is_shown and found is not None else b""
        return made

    def close(self) -> None:
        """Stop reading."""
        self._watch.close()


async def _receive_all(socket: Socket) -> None:
    """Whatever a client says changes nothing; that it leaves does. Raises Closed, BadFrame."""
    while True:
        await socket.receive()


def _wants_all(profile: str | None) -> bool:
    if profile not in (None, "", "full", "plain"):
        raise invalid("INVALID_REQUEST", "profile must be full, or left out", field="profile")
    return profile == "full"
