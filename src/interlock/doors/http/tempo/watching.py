"""What a socket shows: the events of one session to its end, or those of all sessions of a tenant for ever."""

from __future__ import annotations

from uuid import UUID

import msgspec

from interlock.core.principal import Principal
from interlock.doors.http.plumbing.socket import Socket
from interlock.doors.http.plumbing.socket_route import Watching
from interlock.doors.http.plumbing.socket_wire import text_frame
from interlock.doors.http.tempo.frames import Telling, tempo_event
from interlock.services.bundle import Services
from interlock.services.executions.watch import Fact, Watch
from interlock.services.executions.watch_workflow import WorkflowWatch
from interlock.services.sessions.session import session_of

_WAIT_SECONDS = 30.0
_FRAME = "tempo"
_encode = msgspec.json.Encoder().encode


class WatchingSession:
    """One session, from a tick on; the socket is closed behind its last event."""

    def __init__(self, watch: Watch, telling: Telling) -> None:
        self._watch = watch
        self._telling = telling
        self.seq = watch.seq

    async def send_all(self, socket: Socket) -> None:
        """Send events in order and without gaps, then close normally."""
        while True:
            try:
                facts = await self._watch.next(_WAIT_SECONDS)
            except StopAsyncIteration:
                await socket.close(1000, "the session has ended")
                return
            if facts:
                await socket.send_frames([_frame(fact, self._telling) for fact in facts])
                self.seq = facts[-1].record.seq

    def close(self) -> None:
        self._watch.close()


class WatchingTenant:
    """All sessions of a tenant, live."""

    def __init__(self, watch: WorkflowWatch, services: Services, principal: Principal) -> None:
        self._watch = watch
        self._services = services
        self._principal = principal
        self._tellings: dict[UUID, Telling] = {}
        self.seq = 0

    async def send_all(self, socket: Socket) -> None:
        """Send events, those of each session in order. Never returns."""
        while True:
            found = await self._watch.next(_WAIT_SECONDS)
            if found:
                await socket.send_frames([_frame(fact, await self._telling(watch)) for watch, fact in found])

    async def _telling(self, watch: Watch) -> Telling:
        execution_id = watch.row.execution_id
        found = self._tellings.get(execution_id)
        if found is None:
            if len(self._tellings) > 1_000:
                self._tellings.clear()
            found = self._tellings[execution_id] = await _tell(self._services, self._principal, watch)
        return found

    def close(self) -> None:
        self._watch.close()


async def watch_session(
    services: Services, principal: Principal, session_id: str, after: int, *, is_live: bool
) -> Watching | None:
    """Watch a session behind tick ``after``; None if it has ended and nothing is left. Raises NOT_FOUND."""
    row = await services.find_session.row(principal, session_id)
    watch = await services.watch_execution(principal, row.execution_id, row.last_seq if is_live else after)
    return None if watch is None else WatchingSession(watch, await _tell(services, principal, watch))


async def watch_tenant(services: Services, principal: Principal) -> Watching:
    """Watch all sessions of the caller's tenant from now on."""
    return WatchingTenant(await services.watch_workflow.tenant(principal, "flow"), services, principal)


async def _tell(services: Services, principal: Principal, watch: Watch) -> Telling:
    session = session_of(watch.row)
    definition = await services.read_session_log.definition(principal, session)
    return Telling(session, principal.tenant_id, definition)


def _frame(fact: Fact, telling: Telling) -> bytes:
    """A fact as a frame; made once, the same bytes for every reader."""
    made = fact.frames.get(_FRAME)
    if made is None:
        made = fact.frames[_FRAME] = text_frame(_encode(tempo_event(fact.record, telling)))
    return made
