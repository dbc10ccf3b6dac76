"""What the sink does as a webhook: it is called by nodes and calls back, and it is told of events.

``POST /hook/<step>?back=URL,URL`` is a call of a node. What happens then follows from the reference in its params:
the answer comes at once, or as a callback with the token of the call: before the answer to it, after it, or twice.
Callbacks are repeated on any of the servers until one of them gives a clear answer. ``POST /told`` takes messages of
a subscription. Everything is in the ledger before it is answered.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine
from typing import Any, Protocol
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from crash.clock import steady, wall

SCHEMA = """
create table if not exists callbacks (
  id integer primary key, execution text not null, step text not null, is_late integer not null, sent_at real not null,
  status integer, became text);
create table if not exists messages (
  id integer primary key, message text not null, type text not null, execution text not null, seq integer not null,
  arrived_at real not null);
"""
BEGUN = "insert into callbacks (id, execution, step, is_late, sent_at) values (?, ?, ?, ?, ?)"
CLEAR = "update callbacks set status = ?, became = ? where id = ?"
TOLD = "insert into messages (message, type, execution, seq, arrived_at) values (?, ?, ?, ?, ?)"
WAYS = ("later", "twice", "first", "at once")
LATER = 0.3
TOO_LATE = 1.5
INSIST_SECONDS = 90.0


class Ledger(Protocol):
    """The part of the sink that writes."""

    async def arrived(self, execution: str, step: str, key: str, ref: str) -> int: ...
    def note(self, column: str, number: int) -> None: ...
    async def keep(self, statement: str, *row: object) -> None: ...


class Hooks:
    """Takes calls and messages, and calls back."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None

    async def called(self, request: web.Request) -> web.Response:
        """A call of a node."""
        told = await request.json()
        step, ref = request.match_info["step"], str(told["params"]["ref"])
        servers = request.query["back"].split(",")
        key = request.headers.get("Idempotency-Key", "")
        number = await self._ledger.arrived(told["session_id"], step, key, ref)
        result = {"receipt": f"{ref}:{step}:done"}
        way = way_of(ref)
        if way == "first":  # then the server hangs up, because it has the result, and may do so any time
            await asyncio.shield(self._spawn(self._call_back(told, servers, result)))
        elif way == "at once":
            self._spawn(self._call_back(told, servers, {"late": True}, after=TOO_LATE))
        else:
            self._spawn(self._call_back(told, servers, result, after=LATER, times=2 if way == "twice" else 1))
        self._ledger.note("answered_at", number)
        if way == "at once":
            return web.json_response({"status": "success", "result": result})
        return web.json_response({"status": "queued"}, status=202)

    async def told(self, request: web.Request) -> web.Response:
        """A message of a subscription."""
        told, message = await request.json(), request.headers["webhook-id"]
        data = told["data"]
        await self._ledger.keep(TOLD, message, told["type"], data["execution_id"], data["seq"], wall())
        return web.Response(status=204)

    async def close(self) -> None:
        """Give up what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _call_back(
        self, told: dict[str, Any], servers: list[str], result: Any, *, after: float = 0.0, times: int = 1
    ) -> None:
        for _ in range(times):
            number = next(self._numbers)
            is_late = after == TOO_LATE
            await self._ledger.keep(BEGUN, number, told["session_id"], told["step"], is_late, wall())
            await asyncio.sleep(after)
            status, became = await self._insist(told, servers, {"step": told["step"], "result": result})
            await self._ledger.keep(CLEAR, status, became, number)

    async def _insist(self, told: dict[str, Any], servers: list[str], body: Any) -> tuple[int, str]:
        """Ask one server after the other until the answer is clear; 0 if it never is."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20.0))
        target = urlsplit(told["callback_url"])
        until = steady() + INSIST_SECONDS
        for server in itertools.cycle(servers):
            try:
                async with self._session.post(f"{server}{target.path}?{target.query}", json=body) as answer:
                    if answer.status != 429 and answer.status < 500:
                        text = await answer.json(content_type=None)
                        return answer.status, str(text.get("status") or text.get("code"))
            except (aiohttp.ClientError, OSError, TimeoutError):
                pass  # the server was killed; another one, or the same one later, knows what became of it
            if steady() > until:
                break
            await asyncio.sleep(0.2)
        return 0, "no clear answer"


def way_of(ref: str) -> str:
    """How a call with this reference is answered; the reference ends in a number."""
    return WAYS[int(ref.rpartition("-")[2]) % len(WAYS)]
