"""Somebody else's server program serves this server's app: it logs as ours, and local mode stays on its machine."""

from __future__ import annotations

import json
import logging
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import structlog
from starlette.types import ASGIApp

from interlock.bootstrap import create_app
from interlock.config import Settings
from interlock.core.errors import InterlockError
from served import SECRETS, environment

DEADLINE = 60.0
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"


@contextmanager
def uvicorn(tmp_path: Path, database_url: str, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """Uvicorn with the app, as its own command starts it; what it says on stderr goes to a file."""
    command = [sys.executable, "-m", "uvicorn", "--factory", "interlock.bootstrap:create_app", "--port", "0"]
    told = environment(
        INTERLOCK_DATABASE_URL=database_url,
        INTERLOCK_DATA_DIR=str(tmp_path / "keys"),
        INTERLOCK_DATABASE_POOL_SIZE="2",
        PYTHONUNBUFFERED="1",
        **SECRETS,
        **settings,
    )
    with (tmp_path / "errors").open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=told)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(DEADLINE)
        assert process.stdout is not None
        process.stdout.close()


def test_every_line_under_uvicorn_is_one_of_ours_without_credentials(tmp_path: Path, own_database: Any) -> None:
    settings = {"INTERLOCK_LOG_FORMAT": "json", "INTERLOCK_LOG_LEVEL": "INFO", "INTERLOCK_ACCESS_LOG": "true"}
    with uvicorn(tmp_path, own_database.serve_url, **settings) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        while lines[-1] and not (listening := re.search(r"running on (http://\S+)", lines[-1])):
            lines.append(process.stdout.readline())
        assert listening, (tmp_path / "errors").read_text()
        answer = httpx2.get(f"{listening[1]}/api/app/workflows", params={"access_token": TOKEN})
        assert answer.status_code == 401
        process.send_signal(signal.SIGTERM)
        lines += process.stdout.read().splitlines()
    records = [json.loads(line) for line in lines]
    assert {"request.completed", "library.record"} <= {record["event"] for record in records}
    said = "".join(lines) + (tmp_path / "errors").read_text()
    assert "/api/app/workflows" in said
    assert "shutdown complete" in lines[-1] + lines[-2]
    assert "eyJ" not in said


def test_an_app_without_its_secrets_is_refused() -> None:
    with pytest.raises(InterlockError, match="without the secrets of this installation"):
        create_app(Settings(_env_file=None))  # type: ignore[call-arg]


def test_an_address_that_others_reach_is_refused_in_local_mode() -> None:
    with pytest.raises(InterlockError, match="Local mode asks for no credentials"):
        create_app(Settings(_env_file=None, local=True, host="192.168.1.2"))  # type: ignore[call-arg]


@pytest.fixture
def apps() -> Iterator[Callable[..., ASGIApp]]:
    """Makes apps in this process, whose log is as before at the end."""
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield lambda **settings: create_app(Settings(_env_file=None, **settings))  # type: ignore[call-arg]
    structlog.configure(**before)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize("address", ["192.168.1.2", "[2001:db8::1]"])
async def test_who_comes_by_an_address_that_others_reach_is_refused_in_local_mode(
    apps: Callable[..., ASGIApp], address: str
) -> None:
    async def answer(**settings: Any) -> httpx2.Response:
        transport = httpx2.ASGITransport(app=apps(**settings))
        async with httpx2.AsyncClient(transport=transport, base_url=f"http://{address}:8000") as client:
            return await client.get("/api/app/workflows", headers={"host": "localhost"})

    refused = await answer(local=True)
    assert (refused.status_code, "INTERLOCK_LOCAL_ALLOW_REMOTE" in refused.text) == (403, True)
    assert (await answer(local=True, local_allow_remote=True)).status_code == 404, "nothing is served before the start"
    keys = {name.removeprefix("INTERLOCK_").lower(): key for name, key in SECRETS.items()}
    assert (await answer(**keys)).status_code == 404


async def test_a_socket_by_such_an_address_is_refused_too(apps: Callable[..., ASGIApp]) -> None:
    app, sent = apps(local=True), list[Any]()

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    for server in (("192.168.1.2", 8000), ("127.0.0.1", 8000), ("/run/interlock.sock", None), None):
        scope: dict[str, Any] = {
            "type": "websocket",
            "path": "/ws",
            "headers": [],
            "server": server,
            "query_string": b"",
        }
        await app({**scope, "subprotocols": []}, receive, send)
    assert sent == ["websocket.close"] * 4
