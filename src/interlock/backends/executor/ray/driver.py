"""The program of a driver: the client of a Ray cluster, for one server, until that is gone.

    python -m interlock.backends.executor.ray.driver CHANNEL LIFELINE     (two inherited file descriptors)

What passes between server and hosts is not read here.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from typing import NoReturn

from interlock.backends.executor.frames import HEADER
from interlock.backends.executor.ray.cluster import HostLine, connect, disconnect, list_nodes
from interlock.backends.executor.ray.messages import (
    Connected,
    FromDriver,
    Got,
    HostLost,
    HostReady,
    Leave,
    Node,
    Nodes,
    Plan,
    Unable,
    Way,
    frame,
    read_plan,
    read_server,
)

_LOOK_EVERY = 1.0
"""Seconds between two looks at the nodes."""
_SILENCE = 5.0
"""Seconds without an answer of the head after which it counts as away."""
_FAREWELL = 3.0
"""Seconds to have hosts end what they run, and then to leave the cluster."""
_REOPEN = 1.0
"""Seconds before a host that was lost is opened anew; twice as long each time that it cannot be opened."""
_LONGEST_REOPEN = 30.0


class Driver:
    """Keeps a host open on each node, and carries lines."""

    def __init__(self, plan: Plan, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._plan = plan
        self._reader = reader
        self._writer = writer
        self._nodes: Nodes = Nodes(nodes=[])
        self._hosts: dict[str, HostLine] = {}
        self._living: dict[str, asyncio.Task[None]] = {}
        self._reopen: dict[str, float] = {}

    async def serve(self) -> None:
        """Serve until the server leaves or is gone."""
        looking = asyncio.create_task(self._keep_looking())
        try:
            while True:
                length = int.from_bytes(await self._reader.readexactly(HEADER), "big")
                message = read_server.decode(await self._reader.readexactly(length))
                if isinstance(message, Leave):
                    await self._say_farewell()
                    return
                host = self._hosts.get(message.worker)
                if host is not None:  # else it was lost, and the server knows or will
                    host.send(message.lines)
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # the server is dead: hosts keep what they run for the one that takes over
        finally:
            looking.cancel()

    def _say(self, message: FromDriver) -> None:
        self._writer.write(frame(message))

    async def _keep_looking(self) -> NoReturn:
        try:
            await self._look()
        except Exception as error:  # noqa: BLE001 - Ray may fail in any way, and a driver that sees nothing is of no use
            await self._give_up(f"its nodes could not be listed: {type(error).__name__}: {error}"[:500])

    async def _give_up(self, reason: str) -> NoReturn:
        """A new driver may find what this one cannot."""
        self._say(Unable(reason=reason))
        await self._writer.drain()
        os._exit(1)  # what Ray waits for in its threads would keep this program for a minute

    async def _look(self) -> NoReturn:
        """Tell of nodes that come and go."""
        while True:
            found = await self._ask_head()
            nodes = Nodes(nodes=sorted(found.values(), key=lambda node: node.worker))
            if nodes != self._nodes:
                self._nodes = nodes
                self._say(nodes)
            for node_id, node in found.items():
                if node.worker not in self._living:
                    host = HostLine(self._plan, node_id, node, on_ready=self._ready, on_lines=self._bring)
                    self._living[node.worker] = asyncio.create_task(self._keep(node.worker, host))
            await asyncio.sleep(_LOOK_EVERY)

    async def _ask_head(self) -> dict[str, Node]:
        """The nodes. With the head and all hosts away nothing can come any more, and a new driver finds a new head."""
        asking = asyncio.ensure_future(asyncio.to_thread(list_nodes))
        while True:
            done, _ = await asyncio.wait((asking,), timeout=_SILENCE)
            if done:
                return asking.result()
            if not self._hosts:
                await self._give_up("the cluster's head does not answer")

    async def _keep(self, worker: str, host: HostLine) -> None:
        self._hosts[worker] = host
        reason = await host.live()
        del self._hosts[worker]
        self._say(HostLost(worker=worker, reason=reason))
        delay = self._reopen.get(worker, _REOPEN)
        self._reopen[worker] = min(_LONGEST_REOPEN, 2 * delay)
        await asyncio.sleep(delay)
        del self._living[worker]  # if its node is still there, the next look opens another

    def _ready(self, worker: str, way: Way | None) -> None:
        self._reopen.pop(worker, None)
        self._say(HostReady(worker=worker, way=way))

    async def _bring(self, worker: str, lines: list[bytes]) -> None:
        """Pass lines on; they are with the server when this returns."""
        self._say(Got(worker=worker, lines=lines))
        await self._writer.drain()

    async def _say_farewell(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL):
                await asyncio.gather(*(host.leave() for host in self._hosts.values()), return_exceptions=True)


async def _serve(channel: socket.socket, plan: Plan, worker: str) -> None:
    reader, writer = await asyncio.open_connection(sock=channel)
    writer.transport.set_write_buffer_limits(high=0)
    writer.write(frame(Connected(worker=worker)))
    await Driver(plan, reader, writer).serve()


def _read_plan(channel: socket.socket) -> Plan:
    with channel.makefile("rb", buffering=0) as file:
        return read_plan.decode(_exactly(file, int.from_bytes(_exactly(file, HEADER), "big")))


def _exactly(file: socket.SocketIO, size: int) -> bytes:
    parts = b""
    while len(parts) < size:
        part = file.read(size - len(parts))
        if not part:
            os._exit(0)  # the server is gone before it began
        parts += part
    return parts


def _end_with_server(lifeline: int) -> None:
    """Whatever this program is stuck in, it does not outlive its server for long."""
    os.read(lifeline, 1)
    time.sleep(2 * _FAREWELL)
    os._exit(1)


def main() -> None:
    """Serve one server until it is gone; see the charter of the package."""
    channel, lifeline = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])
    channel.set_inheritable(False)
    os.set_inheritable(lifeline, False)
    os.dup2(2, 1)  # what libraries print belongs to the server's log
    threading.Thread(target=_end_with_server, args=(lifeline,), daemon=True).start()
    plan = _read_plan(channel)
    try:
        worker = connect(plan)
    except Exception as error:  # noqa: BLE001 - Ray may fail in any way; the server is told
        channel.sendall(frame(Unable(reason=f"{type(error).__name__}: {error}"[:500])))
        sys.exit(1)
    for number in (signal.SIGTERM, signal.SIGINT):  # meant for the server, which will end us in its own time
        signal.signal(number, lambda *_: None)
    try:
        asyncio.run(_serve(channel, plan, worker))
    finally:
        disconnect()


if __name__ == "__main__":
    main()
