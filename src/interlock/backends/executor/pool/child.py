"""The program of a child: runs attempts one after the other, until its server is gone.

    python -m interlock.backends.executor.pool.child GUARD CHANNEL REGISTRY

A composition root of its own: it imports the node types by the dotted path it is given (``package.module:callable``)
and reaches everything else through the server. Reading and writing the channel block, which is right here: there is
only one attempt, and what it reports must leave even while its function keeps the event loop.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import inspect
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable

from interlock.backends.executor.frames import HEADER
from interlock.backends.executor.pool.calls import Calls, ChildServices
from interlock.backends.executor.pool.messages import (
    Ending,
    Erred,
    Message,
    Ready,
    Run,
    Succeeded,
    Suspended,
    Unable,
    Worn,
    frame,
    read_server,
)
from interlock.backends.executor.pool.surroundings import tell, told
from interlock.backends.executor.results import conclude, fail, find_node, settle_quickly, trace_back
from interlock.core.commands import TaskSucceeded
from interlock.ports.node import Attempt, Outcome, Registry

DEVICES = "CUDA_VISIBLE_DEVICES"
"""The numbers of the graphics devices that a process may use. Libraries read it once, when they are first used."""
_PR_SET_PDEATHSIG = 1
_WEIGHED = 1000
"""Attempts after which a child looks at its memory: what is loaded by the first of them is no growth."""
_GROWTH = 64 << 20
"""Bytes of growth since its first look after which a child is worn."""
_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes


class Child:
    """The child's end of the channel, and the attempt it runs."""

    def __init__(self, channel: socket.socket, registry: Registry) -> None:
        self._channel = channel
        self._registry = registry
        self._writing = threading.Lock()
        self._calls = Calls(self.say)
        self._ended = asyncio.Event()
        self._attempt: asyncio.Task[None] | None = None
        self._all_devices = told(DEVICES)
        self._attempts = 0
        self._first_peak = 0

    def say(self, message: Message) -> None:
        """Send a message; may be called in any thread. Raises NodeFailed MESSAGE_TOO_LARGE."""
        framed = frame(message)
        with self._writing:
            self._channel.sendall(framed)

    async def serve(self) -> None:
        """Run what the server sends until it closes the channel."""
        asyncio.get_running_loop().add_reader(self._channel, self._receive)
        self.say(Ready())
        await self._ended.wait()

    def _receive(self) -> None:
        length = _read_exactly(self._channel, HEADER)
        body = _read_exactly(self._channel, int.from_bytes(length, "big"))
        if not body:
            self._ended.set()
            return
        message = read_server.decode(body)
        if isinstance(message, Run):
            self._attempt = asyncio.get_running_loop().create_task(self._run(message.attempt))
        else:
            self._calls.answer(message)

    async def _run(self, attempt: Attempt) -> None:
        started = time.perf_counter()
        services = ChildServices(self._calls, attempt)
        ending: Ending
        try:
            self._show_devices(attempt)
            outcome = await self.carry_out(attempt, services)
            result = conclude(attempt, settle_quickly(outcome), time.perf_counter() - started)
            ending = Succeeded(result=result) if isinstance(result, TaskSucceeded) else Suspended(result=result)
        except BaseException as error:  # noqa: BLE001 - an attempt may raise anything; the child goes on
            ending = Erred(result=fail(attempt, error), trace=trace_back(error))
        services.close()
        self._weigh()
        self.say(ending)

    def _weigh(self) -> None:
        """Say so if memory grows with the attempts: by its peak, for which every system has a number."""
        self._attempts += 1
        if self._attempts % _WEIGHED:
            return
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT
        self._first_peak = self._first_peak or peak
        if peak > self._first_peak + _GROWTH:
            self.say(Worn())

    def _show_devices(self, attempt: Attempt) -> None:
        """What was given a place sees the devices that it was given, else those that the server sees."""
        shown = self._all_devices if attempt.placement is None else ",".join(map(str, attempt.placement.gpus))
        tell({DEVICES: shown})

    async def carry_out(self, attempt: Attempt, services: ChildServices) -> Outcome:
        """What the node of the attempt says."""
        outcome = find_node(self._registry, attempt.node_type).run(attempt, services)
        return await outcome if inspect.isawaitable(outcome) else outcome


def main() -> None:
    """Serve one server until it is gone; see the charter of the package."""
    run_child(int(sys.argv[1]), socket.socket(fileno=int(sys.argv[2])), sys.argv[3], Child)


def run_child(guard: int, channel: socket.socket, path: str, make: Callable[[socket.socket, Registry], Child]) -> None:
    """Serve with a child that ``make`` makes, until the channel is closed. ``guard`` is the parent's number."""
    channel.set_inheritable(False)
    os.register_at_fork(after_in_child=channel.close)  # a copy of this process must not keep the channel open
    _die_with(guard)
    signal.signal(signal.SIGTERM, lambda *_: None)  # meant for the server, which will end us in its own time
    signal.signal(signal.SIGINT, lambda *_: None)
    try:
        registry = _load(path)
    except Exception as error:  # noqa: BLE001 - packages of others are imported here; the server is told
        channel.sendall(frame(Unable(reason=f"{path} cannot be loaded: {type(error).__name__}: {error}")))
        sys.exit(1)
    asyncio.run(_serve(lambda: make(channel, registry)))


async def _serve(make: Callable[[], Child]) -> None:
    await make().serve()


def _die_with(guard: int) -> None:
    """The guard ends this process; should the guard be killed itself, Linux does it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != guard:
        os._exit(1)


def _load(path: str) -> Registry:
    module, _, name = path.partition(":")
    registry: Registry = getattr(importlib.import_module(module), name)()
    return registry


def _read_exactly(channel: socket.socket, count: int) -> bytes | bytearray:
    """``count`` bytes; none at the end of the channel."""
    found = bytearray(count)
    rest = memoryview(found)
    while rest:
        taken = channel.recv_into(rest)
        if not taken:
            return b""
        rest = rest[taken:]
    return found


if __name__ == "__main__":
    main()
