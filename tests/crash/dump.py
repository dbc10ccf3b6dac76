"""What to look at when nothing moves any more."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from crash.clock import stamp
from crash.database import Observer
from crash.server import Server

SHOWN = 20
ACTIVITY = """
select pid, application_name, state, wait_event_type, wait_event, now() - xact_start as transaction,
  pg_blocking_pids(pid)::text as blocked_by, left(query, 200) as query
from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"""


async def write_dump(directory: Path, observer: Observer, servers: list[Server]) -> Path:
    """Event tails, rows of what does not move, the database's activity and the stacks of all servers, as one file."""
    stuck = (await observer.unfinished())[:SHOWN]
    found: dict[str, Any] = {
        "at": stamp(),
        "statuses": await observer.statuses(),
        "runners": await observer.plain("select *, interlock.now() - seen_at as age from interlock.runners"),
        "live": await observer.plain("select * from interlock.live where execution_id = any ($1::uuid[])", stuck),
        "inbox": await observer.plain("select * from interlock.inbox where outcome is null limit 50"),
        "activity": await observer.plain(ACTIVITY),
        "events": await observer.tails(stuck),
        "stacks": {server.name: await _stack(server) for server in servers if server.process.is_running},
        "logs": {server.name: server.process.logged()[-5000:].splitlines() for server in servers},
    }
    path = directory / "dump.json"
    path.write_text(json.dumps(found, indent=1, default=str))
    return path


async def _stack(server: Server) -> list[str]:
    spy = str(Path(sys.executable).parent / "py-spy")
    process = await asyncio.create_subprocess_exec(
        spy,
        "dump",
        "--pid",
        str(server.process.pid),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 10)
    except TimeoutError:
        process.kill()
        await process.wait()
        return ["py-spy gave no answer"]
    return output.decode(errors="replace").splitlines()
