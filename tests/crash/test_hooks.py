"""The sink as a webhook: it keeps what it was called with, and insists until its callback is heard."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from crash.effects import Effects
from crash.hooks import WAYS, way_of
from crash.process import Process, python


@asynccontextmanager
async def sinking(folder: Path) -> AsyncIterator[str]:
    sink = Process("sink", folder / "sink.log")
    await sink.launch(python("crash.sink", str(folder / "sink.db")), {})
    try:
        yield f"http://127.0.0.1:{await sink.expect('ready', 20)}"
    finally:
        await sink.stop(5.0)


@asynccontextmanager
async def answering(*statuses: int) -> AsyncIterator[tuple[str, list[Any]]]:
    """A server that takes callbacks; its last answer is 200."""
    heard: list[Any] = []
    waiting = list(statuses)

    async def take(request: web.Request) -> web.Response:
        heard.append((request.path_qs, await request.json()))
        status = waiting.pop(0) if waiting else 200
        return web.json_response({"status": "received"}, status=status)

    app = web.Application()
    app.router.add_post("/{path:.*}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", heard
    finally:
        await runner.cleanup()


async def settled(folder: Path, count: int) -> list[tuple[Any, ...]]:
    """The callbacks in the ledger, once so many of them are over."""
    async with asyncio.timeout(15):
        while True:
            with closing(sqlite3.connect(f"file:{folder / 'sink.db'}?mode=ro", uri=True)) as connection:
                rows = connection.execute("select execution, step, status, became, is_late from callbacks").fetchall()
            if len(rows) == count and all(row[2] is not None for row in rows):
                return rows
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("way", WAYS)
async def test_a_call_is_in_the_ledger_and_called_back_in_each_way(tmp_path: Path, way: str) -> None:
    ref = f"r-{WAYS.index(way)}"
    assert way_of(ref) == way
    body = {"session_id": "s", "step": "ask", "params": {"ref": ref}, "callback_url": "http://gone/api/s?ct=T"}
    async with sinking(tmp_path) as sink, answering(503) as (server, heard), aiohttp.ClientSession() as session:
        url = f"{sink}/hook/ask?back=http://127.0.0.1:1,{server}"
        async with session.post(url, json=body, headers={"Idempotency-Key": "k"}) as answer:
            told = await answer.json()
            assert answer.status == (200 if way == "at once" else 202)
        rows = await settled(tmp_path, 2 if way == "twice" else 1)
    assert set(rows) == {("s", "ask", 200, "received", int(way == "at once"))}
    assert {path for path, _ in heard} == {"/api/s?ct=T"}
    assert (told["status"] == "success") == (way == "at once")
    (effect,) = Effects.read(tmp_path / "sink.db").all
    assert (effect.execution, effect.step, effect.key, effect.ref) == ("s", "ask", "k", ref)
