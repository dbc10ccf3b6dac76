"""Secrets that went through a server in every way it knows: afterwards nothing that it wrote or answered holds one."""

from __future__ import annotations

import asyncio
import base64
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import asyncpg
import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from figures import Note
from interlock.core.principal import Scope
from serving import Serving

ENCRYPTION = "cAnArY-enc-" + "Zx5cVb7nMq1wEr3tYu6iOp8a"
API_SECRET = "cAnArY-api-" + "Kj8sLq2vXz7TbYw4RfHd9MgC"
PASSWORD = "cAnArY-pw-Tr0ub4dor"
HOOK = "whsec_" + base64.b64encode(b"cAnArY-hook-secret-of-24-or-so").decode()
OUTGOING = "cAnArY-outgoing-0123456789"
PROVIDER = "cAnArY-provider-0123456789"
NODE = "whsec_" + base64.b64encode(b"cAnArY-node-secret-of-24-or-so").decode()
NODE_HEADER = "cAnArY-node-header-0123456789"
FLOW = "states: [call, end]\nstate_node_map: {call: calls}\ntransitions:\n  - {from: call, event: STEP_DONE, to: end}\n"
GUESS = "cAnArY-guess-0123456789"
WORDS = "cAnArY-words-for-a-model-0123456789"
INPUT = "cAnArY-input-of-a-run-0123456789"
HOSTILE = ["\r\nforged: line", "\x1b[2Jgone", '"}\n{"level":"error"}', "x" * 7_000, "\u2028\u202e"]


@pytest.fixture(scope="module")
def server(database: Any) -> Iterator[Serving]:
    """A server in local mode that writes down everything it may."""
    with tempfile.TemporaryDirectory(prefix="interlock-canary-") as folder:
        serving = Serving(
            Path(folder),
            database.serve_url,
            INTERLOCK_LOCAL="true",
            INTERLOCK_ACCESS_LOG="true",
            INTERLOCK_LOG_LEVEL="DEBUG",
            INTERLOCK_LOG_FORMAT="json",
            INTERLOCK_ENCRYPTION_KEY=ENCRYPTION,
            INTERLOCK_API_SECRET_KEY=API_SECRET,
            INTERLOCK_OPENAI_API_KEY=PROVIDER,
            INTERLOCK_OPENAI_BASE_URL="http://127.0.0.1:9/v1",
        )
        try:
            yield serving.ready()
        finally:
            serving.stop()


class Transcript:
    """Everything that the server said to its callers, apart from what it may say once."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def note(self, answer: httpx2.Response) -> httpx2.Response:
        self.parts.append(f"{answer.headers}\n{answer.text}")
        return answer


async def go_through_everything(server: Serving, transcript: Transcript) -> dict[str, str]:
    """Use each kind of secret well and badly; the secrets by name."""
    note, app = transcript.note, "/api/app"
    email = f"{uuid4().hex}@example.org"
    admin = server.mint("somebody", f"tenant-{uuid4()}", frozenset(Scope))
    async with server.client(admin) as client:
        wanted = {"client_name": "c", "scopes": ["tools:read", "models:use"]}
        key = (await client.post(f"{app}/api-keys", json=wanted)).json()["key"]
        asked = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": WORDS}]}
        note(await client.post("/v1/chat/completions", json=asked, headers={"authorization": f"Bearer {key}"}))
        hook = {"url": "http://127.0.0.1:9/", "events": ["*"], "secret": HOOK}
        made = await client.post(f"{app}/webhooks", json=hook)
        assert made.status_code in (200, 201), made.text
        signed = await client.post("/auth/v1/signup", json={"email": email, "password": PASSWORD})
        assert signed.status_code < 500, signed.text
        told = {"email": email, "password": PASSWORD}
        logged_in = await client.post("/auth/v1/token", params={"grant_type": "password"}, json=told)
        call = {"url": "http://127.0.0.1:9/x", "method": "POST", "headers": {"authorization": f"Bearer {OUTGOING}"}}
        workflow = {"name": "Calls", "nodes": [{"id": "a", "type": "http_request", "parameters": call}]}
        stored = note(await client.post(f"{app}/workflows", json=workflow))
        if stored.status_code == 200:
            path = f"{app}/workflows/{stored.json()['workflow_id']}/execute"
            started = note(await client.post(path, json={"inputs": {"letter": INPUT}, "wait_ms": 5000}))
            stream = f"{app}/executions/{started.json()['execution_id']}/stream"
            note(await client.get(stream, timeout=20))
        for path in (f"{app}/webhooks", f"{app}/api-keys", "/metrics", "/health", "/openapi.json", f"{app}/audit"):
            note(await client.get(path))
        await watch_a_session(server, client, transcript, admin)
        await misuse(client, transcript, key, email)
    secrets = {"token": admin, "key": key, "hook": HOOK, "password": PASSWORD, "outgoing": OUTGOING, "guess": GUESS}
    if logged_in.status_code == 200:
        secrets |= {name: logged_in.json()[name] for name in ("access_token", "refresh_token")}
    secrets |= {"node": NODE, "node header": NODE_HEADER, "words": WORDS, "input": INPUT}
    return secrets | {"encryption": ENCRYPTION, "api_secret": API_SECRET, "provider": PROVIDER}


async def watch_a_session(server: Serving, client: httpx2.AsyncClient, transcript: Transcript, token: str) -> None:
    """A flow that calls a webhook node with secrets, and everything that its socket says until it closes."""
    note = transcript.note
    node = {"node_id": "calls", "name": "Calls", "endpoint": "http://127.0.0.1:9/y", "secret": NODE}
    made = await client.post("/api/registry/nodes", json={**node, "headers": {"x-key": NODE_HEADER}})
    assert made.status_code == 200, made.text
    flow = {"flow_id": "f", "name": "F", "yaml_content": FLOW}
    assert (await client.post("/api/registry/flows", json=flow)).status_code == 200
    started = note(await client.post("/api/workflow/start", json={"flow_id": "f", "wait_ms": 3000}))
    assert started.status_code == 200, started.text
    session_id = started.json()["session_id"]
    headers = {"authorization": f"Bearer {token}"}
    url = f"{server.url.replace('http://', 'ws://')}/ws/events/{session_id}?after=0"
    async with connect(url, additional_headers=headers) as socket, asyncio.timeout(30):
        await socket.send(json.dumps({"type": "auth", "token": GUESS}))
        try:
            while True:
                transcript.parts.append(str(await socket.recv()))
        except ConnectionClosed as closed:
            transcript.parts.append(str(closed.rcvd))
    for path in (f"/api/workflow/{session_id}/state", "/api/registry/nodes", "/api/metrics"):
        note(await client.get(path))


async def misuse(client: httpx2.AsyncClient, transcript: Transcript, key: str, email: str) -> None:
    """Wrong credentials in every place where one may stand, and secrets where none may."""
    note, app = transcript.note, "/api/app"
    for header in ({"authorization": f"Bearer {GUESS}"}, {"x-api-key": GUESS}, {"authorization": f"Basic {GUESS}"}):
        note(await client.get(f"{app}/workflows", headers=header))
    for name in ("access_token", "token", "api_key", "ticket", "key"):
        note(await client.get(f"{app}/executions/{uuid4()}/stream", params={name: GUESS}))
        note(await client.get(f"{app}/workflows", params={name: key}))
    wrong = {"email": email, "password": GUESS}
    note(await client.post("/auth/v1/token", params={"grant_type": "password"}, json=wrong))
    note(await client.post("/auth/v1/token", params={"grant_type": "refresh_token"}, json={"refresh_token": GUESS}))
    note(await client.get(f"{app}/workflows", headers={"user-agent": key, "x-request-id": "r1", "cookie": GUESS}))
    note(await client.get("/nowhere/at/all", params={"password": GUESS}))
    for text in HOSTILE:
        note(await client.post(f"{app}/workflows", json={"name": text, "nodes": text}))
        note(await client.get(f"{app}/workflows", params={"search": text}))


async def dump(url: str) -> dict[str, str]:
    """Every table of the database as text, without the columns that hold sealed secrets."""
    connection = await asyncpg.connect(url)
    try:
        names = await connection.fetch("select tablename from pg_tables where schemaname = 'interlock'")
        found = {}
        for (name,) in names:
            rows = await connection.fetch(f'select to_jsonb(t)::text as row from interlock."{name}" t')
            found[name] = "\n".join(row["row"] for row in rows)
        return found
    finally:
        await connection.close()


def spellings(secret: str) -> set[str]:
    """A secret as it is, and as bytes are shown."""
    raw = secret.encode()
    return {secret, raw.hex(), base64.b64encode(raw).decode().rstrip("=")[:-2]}


async def test_no_secret_is_anywhere_but_where_it_belongs(server: Serving, database: Any, note_figures: Note) -> None:
    """H1 and H4."""
    transcript = Transcript()
    secrets = await go_through_everything(server, transcript)
    secrets["database"] = unquote(urlsplit(database.serve_url).password or "")
    assert len(secrets["database"]) >= 16
    async with server.client() as client:
        for _ in range(20):
            await client.get("/api/app/workflows")
    assert server.stop() == 0
    tables = await dump(database.superuser_url)
    written = {"log": server.logged(), "answers": "\n".join(transcript.parts), **tables}
    belongs = {
        "outgoing": ("versions", "workflows", "events", "executions", "answers"),  # it is a part of a workflow
        "input": ("events", "executions", "answers"),  # whoever may read the run is shown what it was given
    }
    hits = [
        f"{name} in {place}"
        for name, secret in secrets.items()
        for place, text in written.items()
        for spelling in spellings(secret)
        if spelling in text and not place.startswith(belongs.get(name, ("nowhere",)))
    ]
    assert hits == []
    note_figures(canary_secrets=len(secrets), canary_bytes=sum(map(len, written.values())), canary_hits=len(hits))
    assert len(written["log"]) > 10_000
    assert sum(map(len, written.values())) > 50_000
    for line in server.logged().splitlines():
        assert json.loads(line)["level"]
        assert line.isprintable()
        assert len(line) < 16 * 1024


def test_the_log_has_a_line_for_each_request_with_the_route_and_no_path(server: Serving) -> None:
    lines = [json.loads(line) for line in server.logged().splitlines()]
    requests = [line for line in lines if line["event"] == "request.completed"]
    assert len(requests) > 30
    for line in requests:
        assert {"method", "route", "status", "duration_ms", "client_ip", "request_id", "trace_id"} <= line.keys()
        assert "?" not in (line["route"] or "")
