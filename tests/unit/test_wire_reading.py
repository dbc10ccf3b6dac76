"""What waits for its turn bounds what is read: nothing more comes in meanwhile, whatever goes out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from interlock.doors.http.plumbing.connections import Connections, WireLimits
from interlock.doors.http.plumbing.intake import Intake
from interlock.doors.http.plumbing.sse import LEFT
from interlock.doors.http.plumbing.wire import protocol_over

REQUEST = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
PIPELINED = 50


class Shut(Intake):
    """Takes up what comes until it is shut, and then nothing until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.is_shut = False
        self.waiting: list[Callable[[bool], None]] = []

    def has_room(self) -> bool:
        return not self.is_shut

    def postpone(self, asker: str, begin: Callable[[bool], None]) -> None:
        self.waiting.append(begin)


class Endless(asyncio.Transport):
    """A client that always has one more request to send, as soon as it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.protocol: Any = None
        self.is_read = True
        self.parts = 0
        self.written = b""

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True
        asyncio.get_running_loop().call_soon(self.send)

    def send(self, requests: int = 1) -> None:
        """Have parts read for as long as anything is."""
        if self.is_read:
            self.parts += 1
            self.protocol.data_received(REQUEST * requests)
            asyncio.get_running_loop().call_soon(self.send)

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        """Nothing is left to do."""

    def abort(self) -> None:
        """Nothing is left to do."""


class App:
    """Answers each request when it was heard to its end, and wants to know of each client that leaves."""

    def __init__(self, answers: int) -> None:
        self.answered = 0
        self.all_answered = asyncio.Event()
        self._answers = answers

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        forget = scope["extensions"][LEFT](lambda: None)
        await receive()
        forget()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})
        self.answered += 1
        if self.answered == self._answers:
            self.all_answered.set()


async def test_nothing_is_read_while_something_waits_for_its_turn() -> None:
    app, intake, transport = App(PIPELINED), Shut(), Endless()
    connections = Connections(WireLimits())
    connections.intake = intake
    made = protocol_over(connections)
    config = uvicorn.Config(app, http=made, ws="none", lifespan="off", log_config=None, access_log=False)
    transport.protocol = protocol = made(config=config, server_state=ServerState(), app_state={})
    protocol.connection_made(transport)
    try:
        transport.send(PIPELINED)
        intake.is_shut = True
        async with asyncio.timeout(10):
            await app.all_answered.wait()
            await asyncio.sleep(0)
        assert len(intake.waiting) == 1
        assert transport.parts == 2, "fifty answers have gone out, and nothing more has come in"
        assert not transport.is_read
        intake.is_shut = False
        transport.written = b""
        intake.waiting[0](False)
        async with asyncio.timeout(10):
            while transport.written.count(b"HTTP/1.1 200") < 2:
                await asyncio.sleep(0)
        assert transport.parts > 2, "it is read again"
    finally:
        transport.is_read = False
        protocol.connection_lost(None)
