"""Lines between a server and its hosts: straight to those of its own machine, through the driver to all others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from interlock.backends.executor.ray.messages import Send, ToHost, Way, write_line
from interlock.backends.executor.ray.road import Lines, RoadEnd, Said, take_road

_CONFIRMED_AFTER = 0.05
"""Seconds after which a host is told what has arrived, if no line goes there before."""


class Mail:
    """``through_driver`` sends lines by calls. ``on_line`` hears what comes by a road, ``on_cut`` when one breaks."""

    def __init__(
        self,
        session: str,
        through_driver: Callable[[Send], None],
        on_line: Callable[[str, bytes], None],
        on_cut: Callable[[str], None],
    ) -> None:
        self._session = session
        self._through_driver = through_driver
        self._on_line = on_line
        self._on_cut = on_cut
        self._outgoing: dict[str, list[bytes]] = {}
        self._seeking: dict[str, asyncio.Task[None]] = {}
        self._roads: dict[str, RoadEnd] = {}
        self._read: dict[str, int] = {}
        self._unconfirmed: set[str] = set()

    def send(self, worker: str, message: ToHost) -> None:
        """All lines of one turn of the loop go together."""
        self.send_line(worker, write_line(message))

    def send_line(self, worker: str, line: bytes) -> None:
        """The same, of a line that is written already."""
        if not self._outgoing:
            asyncio.get_running_loop().call_soon(self.flush)
        self._outgoing.setdefault(worker, []).append(line)

    def flush(self) -> None:
        """Send what has gathered."""
        outgoing, self._outgoing = self._outgoing, {}
        for worker, lines in outgoing.items():
            road = self._roads.get(worker)
            if road is None:
                self._through_driver(Send(worker=worker, lines=lines))
            else:
                self._unconfirmed.discard(worker)
                road.say(Lines(self._read[worker], lines))

    def find_way(self, worker: str, way: Way | None, then: Callable[[str], None]) -> None:
        """Call ``then`` once it is known how lines go to a host: nothing goes there before, so that nothing overtakes.

        They go straight if there is a way, and the host is on this machine; and through the driver else.
        """
        if way is None:
            then(worker)
        else:
            self._seeking[worker] = asyncio.get_running_loop().create_task(self._seek(worker, way, then))

    async def _seek(self, worker: str, way: Way, then: Callable[[str], None]) -> None:
        road = await take_road(way, self._session, partial(self._hear, worker), partial(self._lose, worker))
        if road is not None:
            self._read[worker] = 0
            self._roads[worker] = road
        del self._seeking[worker]
        then(worker)

    def forget(self, worker: str) -> None:
        """The host of a worker is gone, with all that was to go there."""
        self._outgoing.pop(worker, None)
        seeking = self._seeking.pop(worker, None)
        if seeking is not None:
            seeking.cancel()
        road = self._roads.pop(worker, None)
        if road is not None:
            road.close()

    def forget_all(self) -> None:
        """All hosts are gone, or out of reach."""
        for worker in {*self._outgoing, *self._seeking, *self._roads}:
            self.forget(worker)

    def _hear(self, worker: str, road: RoadEnd, said: Said) -> None:
        if self._roads.get(worker) is not road or not isinstance(said, Lines):
            return
        for line in said.lines:
            self._on_line(worker, line)
        self._read[worker] = said.number
        if worker not in self._unconfirmed:
            self._unconfirmed.add(worker)
            asyncio.get_running_loop().call_later(_CONFIRMED_AFTER, self._confirm, worker)

    def _confirm(self, worker: str) -> None:
        road = self._roads.get(worker)
        if worker in self._unconfirmed and road is not None:
            road.say(Lines(self._read[worker], []))
        self._unconfirmed.discard(worker)

    def _lose(self, worker: str, road: RoadEnd) -> None:
        if self._roads.get(worker) is road:
            del self._roads[worker]
            self._on_cut(worker)
