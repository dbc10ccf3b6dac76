"""The client for ordinary programs: every call returns when it is done."""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any, ParamSpec, TypeVar, overload

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
R = TypeVar("R")
T = TypeVar("T")

_PIECE = 65_536
_CONNECT = 10.0
_SILENCE = 90.0
"""Seconds without a byte after which a stream counts as lost; the server pings more often."""


class Client:
    """A server as this program sees it. It may be used by many threads at once.

    ``token`` is a JWT or an API key; a server in local mode asks for none. ``context`` is for servers whose
    certificate this machine does not know.
    """

    def __init__(
        self, url: str = "http://127.0.0.1:8000", *, token: str | None = None, context: ssl.SSLContext | None = None
    ) -> None:
        self._address = address_of(url, token, context)
        self._registering = threading.Lock()
        self._nodes_in = ""

    def run(
        self,
        graph: Graph,
        *,
        run_id: str | None = None,
        priority: int | None = None,
        deadline: float | None = None,
        resource_policy: str | None = None,
    ) -> Run:
        """Build the graph on the server and start it.

        ``run_id`` names the run, ``priority`` is 0 to 9, ``deadline`` the seconds the whole run may take,
        ``resource_policy`` what to do with a task that asks for more than there is: clamp, queue or reject. Raises
        NotSendable, Refused, ConnectionLost.
        """
        options = requests.run_options(run_id, priority, deadline, resource_policy)
        return Run(self._address, self._talk(requests.create_and_start(graph, options)))

    def attach(self, workflow_id: str, run_id: str) -> Run:
        """A run that was started before, here or elsewhere. Asks nothing yet."""
        return Run(self._address, Started(workflow_id, run_id, {}))

    @overload
    def langgraph_node(self, function: Callable[P, R], /) -> Callable[P, R]: ...

    @overload
    def langgraph_node(
        self,
        /,
        *,
        name: str | None = None,
        cpu: float = 1,
        memory: str | int = 0,
        gpu: float = 0,
        gpu_memory: str | int = 0,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]: ...

    def langgraph_node(
        self,
        function: Any = None,
        /,
        *,
        name: str | None = None,
        cpu: float = 1,
        memory: str | int = 0,
        gpu: float = 0,
        gpu_memory: str | int = 0,
    ) -> Any:
        """Make a function that runs on the server out of one that runs here; the graph around it stays here.

        The function is sent once, now. Each call sends its arguments and waits for the result, which must be JSON
        (a state update as a dict). A call raises TaskFailed if the function raised. Needs cloudpickle, and the same
        minor version of Python as the server's. Raises NotSendable, Refused, ConnectionLost.
        """
        needs = needs_of(cpu, memory, gpu, gpu_memory)

        def send(made: Callable[P, R]) -> Callable[P, R]:
            label = name or str(getattr(made, "__name__", "node"))
            with self._registering:
                ids = self._talk(requests.register(label, self._nodes_in, made, needs))
                self._nodes_in = ids[0]

            @functools.wraps(made)
            def call(*args: P.args, **kwargs: P.kwargs) -> R:
                result: R = self._talk(requests.call(*ids, args, kwargs))
                return result

            return call

        return send if function is None else send(function)

    def _talk(self, dialogue: Dialogue[T]) -> T:
        with _Channel(self._address) as channel:
            return channel.hold(dialogue)


class Run:
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

    def events(self, *, after: int = 0, full: bool = False, timeout: float | None = None) -> Iterator[Frame]:
        """What happens, from the beginning or behind the frame ``after``, until the run ends.

        A lost connection is made again and goes on where it was. With ``full`` also skipped, retried and waiting
        tasks are told, and what tasks print. Raises Refused, ConnectionLost, TimeoutError after ``timeout`` seconds.
        """
        following = Following(self.workflow_id, self.run_id, after, full=full)
        until = None if timeout is None else time.monotonic() + timeout
        while not following.is_over:
            pause = 0.0
            try:
                pause = yield from _stream(self._address, following, until)
            except (OSError, ConnectionLost) as error:
                _left(until)
                pause = following.lost(error)
            if pause and not following.is_over:
                time.sleep(pause if until is None else min(pause, _left(until)))

    def result(self, timeout: float | None = None) -> Results:
        """Wait for the end, and give what each task gave: ``results[node]["key"]``.

        Raises RunFailed with the failures, RunCancelled, TimeoutError after ``timeout`` seconds (the run goes on),
        Refused, ConnectionLost.
        """
        outcome = Outcome(self.run_id, self._started.names)
        for frame in self.events(timeout=timeout):
            outcome.take(frame)
        return outcome.results()

    def cancel(self, reason: str = "") -> str:
        """End the run; the state it is in then. One that has ended stays as it is. Raises Refused, ConnectionLost."""
        with _Channel(self._address) as channel:
            return channel.hold(requests.cancel(self.run_id, reason))

    def __repr__(self) -> str:
        return f"<run {self.run_id} of workflow {self.workflow_id}>"


class _Link:
    """A connection to a server, and what of its bytes was not asked for yet."""

    def __init__(self, address: Address, timeout: float) -> None:
        plain = socket.create_connection((address.host, address.port), min(timeout, _CONNECT))
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            name = address.host
            self._socket = address.context.wrap_socket(plain, server_hostname=name) if address.context else plain
        except BaseException:
            plain.close()
            raise
        self._rest = b""

    def send(self, data: bytes, timeout: float) -> None:
        self._socket.settimeout(timeout)
        self._socket.sendall(data)

    def some(self, timeout: float) -> bytes:
        """What is there, at least a byte. Raises ConnectionLost at the end."""
        rest, self._rest = self._rest, b""
        if rest:
            return rest
        self._socket.settimeout(timeout)
        data = self._socket.recv(_PIECE)
        if not data:
            raise ConnectionLost("the server closed the connection")
        return data

    def head(self, timeout: float) -> Head:
        return read_head(self._until(HEAD_ENDS, MAX_HEAD, timeout))

    def body(self, head: Head, timeout: float) -> bytes:
        if head.is_chunked:
            parts = []
            while size := int(self._until(b"\r\n", 1024, timeout).split(b";")[0], 16):
                parts.append(self._exactly(size, timeout))
                self._exactly(2, timeout)
            self._until(b"\r\n", MAX_HEAD, timeout)
            return b"".join(parts)
        if head.length is not None:
            return self._exactly(head.length, timeout)
        content = b""
        with contextlib.suppress(ConnectionLost):
            while len(content) <= MAX_BODY:
                content += self.some(timeout)
        return content

    def close(self) -> None:
        self._socket.close()

    def _until(self, end: bytes, limit: int, timeout: float) -> bytes:
        data = b""
        while end not in data:
            if len(data) > limit:
                raise ConnectionLost("The answer is not what an HTTP server sends")
            data += self.some(timeout)
        found, _, self._rest = data.partition(end)
        return found

    def _exactly(self, count: int, timeout: float) -> bytes:
        parts: list[bytes] = []
        while count:
            data = self.some(timeout)
            parts.append(data[:count])
            self._rest = data[count:]
            count -= len(parts[-1])
        return b"".join(parts)


class _Channel:
    """One connection for the requests of one dialogue."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._link: _Link | None = None

    def __enter__(self) -> _Channel:
        return self

    def __exit__(self, *_: object) -> None:
        self._drop()

    def hold(self, dialogue: Dialogue[T]) -> T:
        """Send what the dialogue asks for until it knows what it wanted."""
        try:
            request = next(dialogue)
            while True:
                try:
                    answer = self._repeat(request)
                except Refused as error:
                    request = dialogue.throw(error)
                else:
                    request = dialogue.send(answer)
        except StopIteration as end:
            wanted: T = end.value
            return wanted

    def _repeat(self, request: Request) -> Any:
        """The answer; a request that may be repeated is, when the server is busy or the connection breaks."""
        attempt = 1
        while True:
            try:
                return self._ask(request)
            except (ConnectionLost, Refused) as error:
                pause = pause_before_repeat(request, error, attempt)
                if pause is None:
                    raise
            time.sleep(pause)
            attempt += 1

    def _ask(self, request: Request) -> Any:
        try:
            link = self._link = self._link or _Link(self._address, request.timeout)
            link.send(request_bytes(self._address, request), request.timeout)
            head = link.head(request.timeout)
            content = link.body(head, request.timeout)
        except (OSError, ValueError, ConnectionLost) as error:
            self._drop()
            raise ConnectionLost(f"No answer from {self._address.shown}: {error}") from error
        if not head.stays_open:
            self._drop()
        return read_answer(head.status, head.headers, content)

    def _drop(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None


def _stream(address: Address, following: Following, until: float | None) -> Generator[Frame, None, float]:
    """Frames of one connection; returns the seconds until the next one."""
    handshake = Handshake(address.authority, address.prefix + following.path, address.headers)
    link = _Link(address, _left(until))
    try:
        link.send(handshake.request, _left(until))
        head = link.head(_left(until))
        if not handshake.accepts(head.status, head.headers):
            return following.refused(head.status, head.headers, link.body(head, _left(until)))
        reader = Reader()
        while True:
            for message in reader.feed(link.some(_left(until))):
                if isinstance(message, Text):
                    frame = following.frame(message.text)
                    if frame is not None:
                        yield frame
                    if following.is_over:
                        return 0.0
                elif isinstance(message, Closed):
                    return following.closed(message)
                else:
                    link.send(message.answer, _left(until))
    finally:
        with contextlib.suppress(OSError):
            link.send(goodbye(), 1.0)
        link.close()


def _left(until: float | None) -> float:
    """Seconds to wait for the next byte. Raises TimeoutError when all are used up."""
    if until is None:
        return _SILENCE
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("the run has not ended in this time; it goes on")
    return min(left, _SILENCE)
