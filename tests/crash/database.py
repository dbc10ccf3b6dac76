"""The Postgres under test: one embedded server for a run, one fresh database for each scenario."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import asyncpg

from interlock.backends.store.embedded import EmbeddedPostgres, EmbeddedUrls
from interlock.backends.store.embedded.roles import DATABASE, OWNER, SERVER
from interlock.backends.store.postgres.migrate import migrate


@dataclass(frozen=True)
class Database:
    """The addresses of one migrated database."""

    name: str
    serve_url: str
    superuser_url: str
    socket: str  # path of the server's unix socket

    def through(self, port: int) -> str:
        """The serving address by way of a proxy on a TCP port of this machine."""
        parts = urlsplit(self.serve_url)
        login = parts.netloc.rpartition("@")[0]
        return f"postgresql://{login}@127.0.0.1:{port}/{self.name}?sslmode=disable"

    async def observe(self) -> Observer:
        """A connection that sees everything, past all walls."""
        return Observer(await asyncpg.connect(self.superuser_url))


class PostgresServer:
    """An embedded server in a directory of this run."""

    def __init__(self, directory: Path) -> None:
        self._server = EmbeddedPostgres(directory, shared_dir=directory.parent / "shared")
        self._urls: EmbeddedUrls | None = None

    async def start(self) -> None:
        """Make and start it."""
        self._urls = await self._server.start()

    async def stop(self) -> None:
        """Stop it; nothing of it is left running."""
        await self._server.stop()

    async def fresh(self, name: str) -> Database:
        """A new database, migrated."""
        if self._urls is None:
            raise RuntimeError("the server was not started")
        connection = await asyncpg.connect(self._server.superuser_url("postgres"))
        try:
            await connection.execute(f'create database "{name}" owner {OWNER}')
        finally:
            await connection.close()
        here, there = f"/{DATABASE}?", f"/{name}?"
        await migrate(self._urls.migrate_url.replace(here, there), SERVER)
        folder = parse_qs(urlsplit(self._urls.serve_url).query)["host"][0]
        port = parse_qs(urlsplit(self._urls.serve_url).query).get("port", ["5432"])[0]
        return Database(
            name=name,
            serve_url=self._urls.serve_url.replace(here, there),
            superuser_url=self._server.superuser_url(name),
            socket=f"{folder}/.s.PGSQL.{port}",
        )


class Observer:
    """Questions to the tables, as an outsider who is allowed to see all of them."""

    def __init__(self, connection: asyncpg.Connection[Any]) -> None:
        self._connection = connection
        self._turn = asyncio.Lock()  # parts of a scenario that run at the same time share the connection

    async def close(self) -> None:
        """Give the connection up."""
        await self._connection.close()

    async def fetch(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        """Any other question."""
        async with self._turn:
            return list(await self._connection.fetch(statement, *arguments))

    async def value(self, statement: str, *arguments: Any) -> Any:
        """A question with one answer."""
        async with self._turn:
            return await self._connection.fetchval(statement, *arguments)

    async def prepare(self, script: str) -> None:
        """Run statements that ask nothing."""
        async with self._turn:
            await self._connection.execute(script)

    async def runners(self) -> dict[int, str]:
        """Runners that have a row, with their names."""
        return {row[0]: row[1] for row in await self.fetch("select runner_id, name from interlock.runners")}

    async def owned_by(self, runner_ids: set[int]) -> dict[UUID, int]:
        """Executions these runners own and that wait for nobody outside, with the number of the last event of each."""
        rows = await self.fetch(
            "select l.execution_id, (select max(e.seq) from interlock.events e where e.execution_id = l.execution_id)"
            " from interlock.live l join interlock.executions x using (execution_id) where l.owner = any ($1::bigint[])"
            " and coalesce(x.waiting_reason, '') not in ('callback', 'input', 'approval', 'signal')",
            sorted(runner_ids),
        )
        return {row[0]: row[1] for row in rows}

    async def statuses(self) -> dict[str, int]:
        """How many executions have which status."""
        rows = await self.fetch("select status, count(*) from interlock.executions group by status")
        return {row[0]: row[1] for row in rows}

    async def unfinished(self) -> list[UUID]:
        """Executions that have not ended."""
        rows = await self.fetch("select execution_id from interlock.executions where ended_at is null")
        return [row[0] for row in rows]

    async def progress(self) -> tuple[int, int]:
        """Two numbers of which one grows as long as anything moves: events, and executions that ended."""
        (row,) = await self.fetch(
            "select (select count(*) from interlock.events),"
            " (select count(*) from interlock.executions where ended_at is not null)"
        )
        return row[0], row[1]

    async def tails(self, executions: list[UUID], last: int = 12) -> dict[str, list[str]]:
        """The last events of some executions, for a dump."""
        found: dict[str, list[str]] = {}
        for execution_id in executions:
            rows = await self.fetch(
                "select seq, at, type, left(data::text, 300) as data from interlock.events where execution_id = $1"
                " order by seq desc limit $2",
                execution_id,
                last,
            )
            found[str(execution_id)] = [
                f"{row['seq']} {row['at']:%H:%M:%S.%f} {row['type']} {row['data']}" for row in reversed(rows)
            ]
        return found

    async def plain(self, statement: str, *arguments: Any) -> list[dict[str, str]]:
        """Rows as texts, for a dump."""
        return [{name: str(value) for name, value in row.items()} for row in await self.fetch(statement, *arguments)]
