"""The outside ledger: an HTTP server that writes down every effect before it answers, in a process of its own.

``POST /effect/<execution>/<step>?delay=S&status=N`` is committed to SQLite (fsync), then held for S seconds, then
answered. With ``gather=N`` it is held until N steps of its execution have called, which then are answered at once. A
caller that leaves before its answer is noted too. What ``hooks.py`` takes is in the same ledger. Run as
``python -m crash.sink DATABASE``; it prints ``ready PORT`` and ends on SIGTERM.
"""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import sys
from pathlib import Path

from aiohttp import web

from crash.clock import wall
from crash.hooks import SCHEMA as HOOKS
from crash.hooks import Hooks

SCHEMA = """
pragma journal_mode = wal;
pragma synchronous = full;
create table if not exists effects (
  id integer primary key, execution text not null, step text not null, key text not null, ref text not null,
  arrived_at real not null, answered_at real, left_at real);
"""
INSERT = "insert into effects (id, execution, step, key, ref, arrived_at) values (?, ?, ?, ?, ?, ?)"

Write = tuple[str, tuple[object, ...], "asyncio.Future[None] | None"]


class Sink:
    """Writes effects down, many in one commit; nothing is answered before its commit."""

    def __init__(self, database: Path) -> None:
        self._connection = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
        self._connection.executescript(SCHEMA + HOOKS)
        self._last = self._connection.execute("select coalesce(max(id), 0) from effects").fetchone()[0]
        self._queue: asyncio.Queue[Write] = asyncio.Queue()
        self._times_seen: dict[str, int] = {}
        self._gatherings: dict[str, tuple[set[str], asyncio.Event]] = {}

    async def effect(self, request: web.Request) -> web.Response:
        """Note the effect, then behave as the query says."""
        key, ref = request.headers.get("Idempotency-Key", ""), request.headers.get("X-Ref", "")
        execution, step = request.match_info["execution"], request.match_info["step"]
        number = await self.arrived(execution, step, key, ref)
        self._times_seen[key] = self._times_seen.get(key, 0) + 1
        try:
            await asyncio.sleep(float(request.query.get("delay", "0")))
            if "gather" in request.query:
                await self._gathered(execution, step, int(request.query["gather"]))
        except asyncio.CancelledError:
            self.note("left_at", number)
            raise
        self.note("answered_at", number)
        answer = {"step": step, "times_seen": self._times_seen[key], "receipt": f"{ref}:{step}:done"}
        return web.json_response(answer, status=int(request.query.get("status", "200")))

    async def _gathered(self, execution: str, step: str, count: int) -> None:
        steps, full = self._gatherings.setdefault(execution, (set(), asyncio.Event()))
        steps.add(step)
        if len(steps) >= count:
            full.set()
        await full.wait()

    async def arrived(self, execution: str, step: str, key: str, ref: str) -> int:
        """Commit an effect; its number."""
        self._last += 1
        number = self._last
        await self.keep(INSERT, number, execution, step, key, ref, wall())
        return number

    def note(self, column: str, number: int) -> None:
        """Write down when an effect was ``answered_at``, or its caller ``left_at``."""
        self._queue.put_nowait((f"update effects set {column} = ? where id = ?", (wall(), number), None))

    async def keep(self, statement: str, *row: object) -> None:
        """Carry out a statement; returns after its commit."""
        committed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((statement, row, committed))
        await committed

    async def write(self) -> None:
        """Commit what is queued, for ever."""
        while True:
            batch = [await self._queue.get()]
            while not self._queue.empty():
                batch.append(self._queue.get_nowait())
            await asyncio.to_thread(self._commit, batch)
            for _, _, committed in batch:
                if committed is not None and not committed.done():
                    committed.set_result(None)

    def _commit(self, batch: list[Write]) -> None:
        self._connection.execute("begin")
        for statement, row, _ in batch:
            self._connection.execute(statement, row)
        self._connection.execute("commit")


async def serve(database: Path) -> None:
    """Serve on a free port of the loopback address until SIGTERM."""
    sink = Sink(database)
    writer = asyncio.create_task(sink.write())
    application = web.Application()
    application.router.add_post("/effect/{execution}/{step}", sink.effect)
    hooks = Hooks(sink)
    application.router.add_post("/hook/{step}", hooks.called)
    application.router.add_post("/told", hooks.told)
    runner = web.AppRunner(application, handler_cancellation=True, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    print("ready", runner.addresses[0][1], flush=True)
    await stopped.wait()
    await hooks.close()
    await runner.cleanup()
    writer.cancel()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
