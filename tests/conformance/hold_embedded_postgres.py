"""A process for the tests to kill: ``python hold_embedded_postgres.py DATA_DIR BINDIR UID`` (the last two may be "").

It starts the server of DATA_DIR as an operator's process would, says so in one line of JSON, and stops it when its
standard input ends. With UID it first stops being root for good.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import asyncpg

from interlock.backends.store.embedded import EmbeddedPostgres

ROLE = "select rolsuper, rolbypassrls from pg_roles where rolname = current_user"


async def main(data_dir: Path, bindir: Path | None) -> None:
    """Hold the server of ``data_dir``."""
    server = EmbeddedPostgres(data_dir, bindir, data_dir.parent / "shared")
    urls = await server.start()
    try:
        connection = await asyncpg.connect(urls.serve_url)
        role = [tuple(row) for row in await connection.fetch(ROLE)]
        await connection.close()
        said = {"pid": urls.pid, "socket_dir": str(urls.socket_dir), "role": role, "uid": os.geteuid()}
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)
    finally:
        await server.stop()


def stop_being_root(uid: int) -> None:
    """Become ``uid``, who may have no way to this interpreter: so all it will import must be imported before."""
    asyncio.run(asyncio.to_thread(int))  # has imports that asyncio leaves for later
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)


if __name__ == "__main__":
    if sys.argv[3]:
        stop_being_root(int(sys.argv[3]))
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]) if sys.argv[2] else None))
