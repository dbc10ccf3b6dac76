"""The client for asyncio: the same as the blocking one, to be awaited."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, ParamSpec, TypeVar

from interlock.client import requests
from interlock.client.address import Address, address_of
from interlock.client.errors import ConnectionLost, Refused
from interlock.client.following import Following
from interlock.client.frames import Frame
from interlock.client.graph import Graph
from interlock.client.outcome import Outcome, Results
from interlock.client.requests import Dialogue, Request, Started, pause_before_repeat, read_answer
from interlock.client.tasks import needs_of
from interlock.client.websocket import Closed, Handshake, Reader, Text, goodbye
from interlock.client.wire import HEAD_ENDS, MAX_BODY, MAX_HEAD, Head, read_head, request_bytes

P = ParamSpec("P")
T = TypeVar("T")

_PIECE = 65_536
_CONNECT = 10.0
_SILENCE = 90.0
"""Seconds without a byte after which a stream counts as lost; the server pings more often."""


class AsyncClient:
    """A server as this program sees it; many coroutines may use it at once.

    ``token`` is a JWT or an API key; a server in local mode asks for none. ``context`` is for servers whose
    certificate this machine does not know. It holds no connections, so it need not be closed.
    """

    def __init__(
        self, url: str = "http://127.0.0.1:8000", *, token: str | None = None, context: ssl.SSLContext | None = None
    ) -> None:
        self._address = address_of(url, token, context)
        self._registering = asyncio.Lock()
        self._nodes_in = ""

    async def run(
        self,
        graph: Graph,
        *,
        run_id: str | None = None,
        priority: int | None = None,
        deadline: float | None = None,
        resource_policy: str | None = None,
    ) -> AsyncRun:
        """Build the graph on the server and start it; parameters and errors are those of ``Client.run``."""
        options = requests.run_options(run_id, priority, deadline, resource_policy)
        return AsyncRun(self._address, await _talk(self._address, requests.create_and_start(graph, options)))

    def attach(self, workflow_id: str, run_id: str) -> AsyncRun:
        """A run that was started before, here or elsewhere. Asks nothing yet."""
        return AsyncRun(self._address, Started(workflow_id, run_id, {}))

    def langgraph_node(
        self,
        function: Callable[P, Any] | None = None,
        /,
        *,
        name: str | None = None,
        cpu: float = 1,
        memory: str | int = 0,
        gpu: float = 0,
        gpu_memory: str | int = 0,
    ) -> Any:
        """Make a coroutine function that runs on the server out of a function, as ``Client.langgraph_node`` does.

        The function is sent with the first call.
        """
        needs = needs_of(cpu, memory, gpu, gpu_memory)

        def send(made: Callable[P, Any]) -> Callable[P, Awaitable[Any]]:
            label = name or str(getattr(made, "__name__", "node"))
            known: list[tuple[str, str]] = []

            async def ids() -> tuple[str, str]:
                async with self._registering:
                    if not known:
                        known.append(await _talk(self._address, requests.register(label, self._nodes_in, made, needs)))
                        self._nodes_in = known[0][0]
                return known[0]

            @functools.wraps(made)
            async def call(*args: P.args, **kwargs: P.kwargs) -> Any:
                return await _talk(self._address, requests.call(*await ids(), args, kwargs))

            return call

        return send if function is None else send(function)


class AsyncRun:
    """A run of a graph on the server. It goes on whether anybody follows it or not."""

    def __init__(self, address: Address, started: Started) -> None:
        self._address = address
        self._started = started

    @property
    def run_id(self) -> str:
        """Its id; with ``workflow_id`` it can be attached to again."""
        return self._started.run_id

    @property
    def workflow_id(self) -> str:
        """The workflow it is a run of."""
        return self._started.workflow_id

    async def events(self, *, after: int = 0, full: bool = False) -> AsyncGenerator[Frame, None]:
        """What happens, from the beginning or behind the frame ``after``, until the run ends.

        A lost connection is made again and goes on where it was. Raises Refused, ConnectionLost.
        """
        following = Following(self.workflow_id, self.run_id, after, full=full)
        while not following.is_over:
            link = _Link(self._address)
            try:
                async with contextlib.aclosing(_stream(link, self._address, following)) as frames:
                    async for frame in frames:
                        yield frame
                pause = link.pause
            except (OSError, asyncio.IncompleteReadError, ConnectionLost) as error:
                pause = following.lost(error)
            if not following.is_over:
                await asyncio.sleep(pause)

    async def result(self, timeout: float | None = None) -> Results:
        """Wait for the end, and give what each task gave: ``results[node]["key"]``; errors as of ``Run.result``."""
        outcome = Outcome(self.run_id, self._started.names)
        async with asyncio.timeout(timeout), contextlib.aclosing(self.events()) as frames:
            async for frame in frames:
                outcome.take(frame)
        return outcome.results()

    async def cancel(self, reason: str = "") -> str:
        """End the run; the state it is in then. One that has ended stays as it is. Raises Refused, ConnectionLost."""
        return await _talk(self._address, requests.cancel(self.run_id, reason))

    def __repr__(self) -> str:
        return f"<run {self.run_id} of workflow {self.workflow_id}>"


class _Link:
    """A connection to a server. Every wait on it has an end."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.pause = 0.0

    async def open(self) -> None:
        if self._streams is None:
            address = self._address
            async with asyncio.timeout(_CONNECT):
                self._streams = await asyncio.open_connection(
                    address.host, address.port, ssl=address.context, limit=MAX_HEAD
                )

    @property
    def reader(self) -> asyncio.StreamReader:
        if self._streams is None:
            raise ConnectionLost("the connection was closed")
        return self._streams[0]

    async def send(self, data: bytes) -> None:
        if self._streams is None:
            raise ConnectionLost("the connection was closed")
        self._streams[1].write(data)
        await self._streams[1].drain()

    async def some(self) -> bytes:
        data = await self.reader.read(_PIECE)
        if not data:
            raise ConnectionLost("the server closed the connection")
        return data

    async def head(self) -> Head:
        return read_head(await self.reader.readuntil(HEAD_ENDS))

    async def body(self, head: Head) -> bytes:
        if head.is_chunked:
            parts = []
            while size := int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16):
                parts.append(await self.reader.readexactly(size))
                await self.reader.readexactly(2)
            await self.reader.readuntil(b"\r\n")
            return b"".join(parts)
        return await (self.reader.read(MAX_BODY) if head.length is None else self.reader.readexactly(head.length))

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def _talk(address: Address, dialogue: Dialogue[T]) -> T:
    """Send what a dialogue asks for until it knows what it wanted."""
    link = _Link(address)
    try:
        request = next(dialogue)
        while True:
            try:
                answer = await _repeat(link, address, request)
            except Refused as error:
                request = dialogue.throw(error)
            else:
                request = dialogue.send(answer)
    except StopIteration as end:
        wanted: T = end.value
        return wanted
    finally:
        link.close()


async def _repeat(link: _Link, address: Address, request: Request) -> Any:
    """The answer; a request that may be repeated is, when the server is busy or the connection breaks."""
    attempt = 1
    while True:
        try:
            return await _ask(link, address, request)
        except (ConnectionLost, Refused) as error:
            pause = pause_before_repeat(request, error, attempt)
            if pause is None:
                raise
        await asyncio.sleep(pause)
        attempt += 1


async def _ask(link: _Link, address: Address, request: Request) -> Any:
    try:
        async with asyncio.timeout(request.timeout):
            await link.open()
            await link.send(request_bytes(address, request))
            head = await link.head()
            content = await link.body(head)
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionLost) as error:
        link.close()
        raise ConnectionLost(f"No answer from {address.shown}: {error}") from error
    if not head.stays_open:
        link.close()
    return read_answer(head.status, head.headers, content)


async def _stream(link: _Link, address: Address, following: Following) -> AsyncGenerator[Frame, None]:
    """Frames of one connection; ``link.pause`` are the seconds until the next one."""
    handshake = Handshake(address.authority, address.prefix + following.path, address.headers)
    try:
        async with asyncio.timeout(_SILENCE):
            await link.open()
            await link.send(handshake.request)
            head = await link.head()
            content = b"" if handshake.accepts(head.status, head.headers) else await link.body(head)
        if not handshake.accepts(head.status, head.headers):
            link.pause = following.refused(head.status, head.headers, content)
            return
        reader = Reader()
        while True:
            async with asyncio.timeout(_SILENCE):
                data = await link.some()
            for message in reader.feed(data):
                if isinstance(message, Text):
                    frame = following.frame(message.text)
                    if frame is not None:
                        yield frame
                    if following.is_over:
                        return
                elif isinstance(message, Closed):
                    link.pause = following.closed(message)
                    return
                else:
                    await link.send(message.answer)
    finally:
        with contextlib.suppress(OSError, ConnectionLost):
            await link.send(goodbye())
        link.close()
