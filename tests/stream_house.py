"""Readers of one session by SSE, by WebSocket and by polling, who break their connections and go on elsewhere."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from typing import Any, Literal

import aiohttp
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from serving import Serving

Kind = Literal["sse", "ws", "poll"]
KINDS: tuple[Kind, ...] = ("sse", "ws", "poll")
TURNING = """
states: [even, odd, done]
terminal_states: [done]
user_input_states: [even, odd]
transitions:
  - {from: even, event: TURN, to: odd}
  - {from: odd, event: TURN, to: even}
  - {from: even, event: END, to: done}
  - {from: odd, event: END, to: done}
"""
"""Can be turned for ever; each event makes two, the last one three."""
_GONE = (aiohttp.ClientError, WebSocketException, OSError, EOFError, TimeoutError)


class Broken(Exception):
    """The reader cut its own connection."""


class Reader:
    """Reads a session to its end. ``servers`` gives those that live; a new connection goes to any of them.

    ``patience`` is how many events it takes on average before it resets the connection; 0 is never.
    """

    def __init__(
        self,
        kind: Kind,
        session: str,
        token: str,
        servers: Callable[[], Sequence[Serving]],
        *,
        patience: int = 0,
        seed: int = 0,
    ) -> None:
        self.kind = kind
        self.session = session
        self._headers = {"authorization": f"Bearer {token}"}
        self._servers = servers
        self._patience = patience
        self._random = random.Random(seed)
        self.numbers: list[int] = []
        self.made: dict[int, float] = {}  # when an event was decided, epoch seconds
        self.age: dict[int, float] = {}  # how old it was when it came, seconds
        self.resumed: list[float] = []  # seconds from a break to the next open connection
        self.is_over = False

    @property
    def last(self) -> int:
        return self.numbers[-1] if self.numbers else 0

    async def read(self) -> None:
        """Read until the session has ended, whatever happens to the connections."""
        begun = None
        async with aiohttp.ClientSession(headers=self._headers, timeout=aiohttp.ClientTimeout(sock_read=30)) as http:
            while not self.is_over:
                server = self._random.choice(list(self._servers()))
                opened = self._opened(begun)
                try:
                    await {"sse": self._stream, "ws": self._socket, "poll": self._poll}[self.kind](server, http, opened)
                except (Broken, *_GONE):
                    await asyncio.sleep(0.02)
                begun = time.monotonic()

    def _opened(self, begun: float | None) -> Callable[[], None]:
        def note() -> None:
            if begun is not None:
                self.resumed.append(time.monotonic() - begun)

        return note

    def _take(self, number: int, made: float) -> None:
        self.numbers.append(number)
        self.made[number] = made
        self.age[number] = time.time() - made

    def _tires(self) -> bool:
        return self._patience > 0 and self._random.random() < 1 / self._patience

    async def _stream(self, server: Serving, http: aiohttp.ClientSession, opened: Callable[[], None]) -> None:
        url = f"{server.url}/api/app/executions/{self.session}/stream"
        async with http.get(url, headers={"last-event-id": str(self.last)}) as answer:
            if answer.status == 204:
                self.is_over = True
            if answer.status != 200:
                return
            opened()
            transport = answer.connection.transport if answer.connection is not None else None
            async for line in answer.content:
                if line.startswith(b"id: "):
                    number = int(line[4:])
                elif line.startswith(b"data: "):
                    event = json.loads(line[6:])
                    self._take(number, event["timestamp"] / 1000)
                    self.is_over = event["is_final"]
                    if not self.is_over and self._tires():
                        _reset(transport)
                        raise Broken

    async def _socket(self, server: Serving, http: aiohttp.ClientSession, opened: Callable[[], None]) -> None:
        url = f"{server.url.replace('http', 'ws', 1)}/ws/events/{self.session}?after={self.last}"
        async with connect(url, additional_headers=self._headers, close_timeout=1) as connection:
            opened()
            try:
                while True:
                    event = json.loads(await connection.recv())
                    self._take(event["tick"], event["created_at"])
                    if self._tires():
                        _reset(connection.transport)
                        raise Broken
            except ConnectionClosed as closed:
                self.is_over = closed.rcvd is not None and closed.rcvd.code == 1000

    async def _poll(self, server: Serving, http: aiohttp.ClientSession, opened: Callable[[], None]) -> None:
        url = f"{server.url}/api/workflow/{self.session}/events?after={self.last}&limit=100"
        async with http.get(url) as answer:
            if answer.status == 200:
                for event in (await answer.json())["events"]:
                    self._take(event["tick"], event["created_at"])
                    self.is_over = event["type"] == "SESSION_COMPLETE"
        await asyncio.sleep(0.1)


def _reset(transport: Any) -> None:
    """End a connection as a broken network does."""
    if transport is None:
        return
    own = transport.get_extra_info("socket")
    own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class Turner:
    """Starts sessions of a tenant and turns them."""

    def __init__(self, token: str, servers: Callable[[], Sequence[Serving]]) -> None:
        self._headers = {"authorization": f"Bearer {token}"}
        self._servers = servers
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Turner:
        self._http = aiohttp.ClientSession(headers=self._headers, timeout=aiohttp.ClientTimeout(30))
        body = {"flow_id": "turning", "name": "Turning", "yaml_content": TURNING}
        await self._post("/api/registry/flows", body)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._http is not None
        await self._http.close()

    async def start(self) -> str:
        """A new session's id."""
        return str((await self._post("/api/workflow/start", {"flow_id": "turning"}))["session_id"])

    async def push(self, session: str, name: str, key: str) -> int:
        """Push an event until some server takes it; the tick of the event."""
        body = {"event_type": name, "wait_ms": 0, "event_id": key}
        return int((await self._post(f"/api/workflow/{session}/event", body))["tick"])

    async def write(self, session: str, key: str, value: Any) -> None:
        """Set a key of the blackboard, which is one event."""
        assert self._http is not None
        url = f"{self._servers()[0].url}/api/state/{session}/{key}"
        async with self._http.put(url, json={"value": value}) as answer:
            assert answer.status == 200, await answer.text()

    async def last(self, session: str) -> int:
        """How many events there are."""
        assert self._http is not None
        after = 0
        while True:
            url = f"{self._servers()[0].url}/api/workflow/{session}/events?after={after}&limit=1000"
            async with self._http.get(url) as answer:
                page = await answer.json()
            after = int(page["next_after"])
            if not page["has_more"]:
                return after

    async def _post(self, path: str, body: dict[str, Any]) -> Any:
        assert self._http is not None
        async with asyncio.timeout(60):
            for attempt in count():
                servers = self._servers()
                with suppress(*_GONE):
                    async with self._http.post(servers[attempt % len(servers)].url + path, json=body) as answer:
                        if answer.status == 200:
                            return await answer.json()
                        assert answer.status in (429, 503), await answer.text()
                await asyncio.sleep(0.1)
        raise AssertionError("unreachable")
