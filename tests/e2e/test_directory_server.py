"""The built-in directory outside local mode: addresses are confirmed by mail, and whoever was shut out is out soon."""

from __future__ import annotations

import asyncio
import re
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest

from interlock.backends.mail.smtp import SmtpMail
from interlock.core.errors import InterlockError
from interlock.core.principal import Scope
from interlock.kit.ids import RandomIds
from serving import Serving

PASSWORD = "correct horse battery"
SOON = 5.0
"""Seconds within which a credential that was taken away is refused."""


class MailServer:
    """Takes messages by SMTP and keeps them."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[str] = asyncio.Queue()
        self.url = ""

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def say(line: str) -> None:
            writer.write(f"{line}\r\n".encode())
            await writer.drain()

        await say("220 mail.test")
        while line := (await reader.readline()).decode().strip():
            match line[:4].upper():
                case "DATA":
                    await say("354 go on")
                    text = (await reader.readuntil(b"\r\n.\r\n")).decode()
                    self.messages.put_nowait(text)
                    await say("250 taken")
                case "QUIT":
                    await say("221 bye")
                    break
                case _:
                    await say("250 mail.test")
        writer.close()


@asynccontextmanager
async def mail_server() -> AsyncIterator[MailServer]:
    mail = MailServer()
    listening = await asyncio.start_server(mail.talk, "127.0.0.1", 0)
    mail.url = f"smtp://127.0.0.1:{listening.sockets[0].getsockname()[1]}?from=interlock@example.org"
    async with listening:
        yield mail


@pytest.fixture
async def world(database: Any) -> AsyncIterator[tuple[Serving, MailServer]]:
    """A server as in production, and the mail server that it uses."""
    async with mail_server() as mail:
        with tempfile.TemporaryDirectory(prefix="interlock-directory-") as folder:
            serving = Serving(Path(folder), database.serve_url, INTERLOCK_SMTP_URL=mail.url)
            await asyncio.to_thread(serving.ready)
            try:
                yield serving, mail
            finally:
                await asyncio.to_thread(serving.stop)


async def logged_in(client: httpx2.AsyncClient, email: str) -> httpx2.Response:
    return await client.post("/auth/v1/token?grant_type=password", json={"email": email, "password": PASSWORD})


async def test_an_address_is_confirmed_by_its_link_and_a_disabled_account_is_out_soon(world: Any) -> None:
    serving, mail = world
    email = f"{RandomIds().new().hex}@example.org"
    async with httpx2.AsyncClient(base_url=serving.url, timeout=30) as client:
        made = await client.post("/auth/v1/signup", json={"email": email, "password": PASSWORD})
        assert (made.status_code, made.json()["email_confirmed_at"]) == (200, None)
        assert (await logged_in(client, email)).json()["error_code"] == "email_not_confirmed"
        operator = {"authorization": f"Bearer {serving.mint('root', 'default', frozenset(Scope))}"}
        own_tenant = f"/api/app/tenants/{made.json()['app_metadata']['tenant_id']}"
        assert (await client.get(own_tenant, headers=operator)).json()["users"] == 1, "commands find it by --tenant"
        message = await asyncio.wait_for(mail.messages.get(), 20)
        assert f"To: {email}" in message
        assert "From: interlock@example.org" in message
        link = link_in(message)
        assert link.startswith(serving.url)
        for wrong in (link[:-4] + "AAAA", link.partition("&token=")[0], link + "x"):
            assert (await client.get(wrong)).json()["error_code"] == "otp_expired", wrong
        for _ in range(2):  # programs that look at mail open links too
            opened = await client.get(link)
            assert (opened.status_code, opened.text) == (
                200,
                f"The address {email} is confirmed. You can log in now.\n",
            )
        login = (await logged_in(client, email)).json()
        assert jwt.get_unverified_header(login["access_token"])["alg"] == "HS256"
        again = await client.post("/auth/v1/signup", json={"email": email, "password": PASSWORD})
        assert again.status_code == 200
        assert mail.messages.empty(), "a confirmed address gets no mail"
        wanted = {"client_name": "ci", "scopes": ["tools:read"]}
        key = (await client.post("/api/app/api-keys", json=wanted, headers=operator)).json()["key"]
        assert key.startswith("il_prod_")
        phantom = await client.get(f"/api/app/tenants/{again.json()['id']}", headers=operator)
        assert phantom.status_code == 404, "there is no such account, and no tenant of it"
        await is_out_soon(serving, client, login)


async def is_out_soon(serving: Serving, client: httpx2.AsyncClient, login: dict[str, Any]) -> None:
    """A token in use is refused within 5 s after its account was disabled."""
    user = login["user"]
    own = {"authorization": f"Bearer {login['access_token']}"}
    tenant_id = user["app_metadata"]["tenant_id"]
    admin = {"authorization": f"Bearer {serving.mint('admin', tenant_id, frozenset(Scope))}"}
    assert (await client.get("/api/app/executions", headers=own)).status_code == 200
    path, tickets = await tickets_for_a_stream(client, own, 2)
    async with client.stream("GET", path, params={"ticket": tickets[0]}) as stream:
        assert stream.status_code == 200
        disabled = await client.put(f"/api/app/users/{user['id']}", json={"disabled": True}, headers=admin)
        assert disabled.json()["disabled"] is True
        since = time.monotonic()
        async with asyncio.timeout(SOON * 2):
            async for _ in stream.aiter_bytes():
                pass  # it ends, though the token has most of an hour left
    assert (await client.get(path, params={"ticket": tickets[1]})).status_code == 401, "a ticket of before"
    while (await client.get("/api/app/executions", headers=own)).status_code != 401:
        assert time.monotonic() - since < SOON * 2, "never refused"  # twice, because others use this machine too
        await asyncio.sleep(0.1)
    refused = await client.post(
        "/auth/v1/token?grant_type=refresh_token", json={"refresh_token": login["refresh_token"]}
    )
    assert refused.status_code == 400


async def tickets_for_a_stream(client: httpx2.AsyncClient, own: dict[str, str], count: int) -> tuple[str, list[str]]:
    """The path of a stream that stays open, and tickets for it."""
    definition = {"name": "w", "nodes": [{"id": "w", "type": "wait", "parameters": {"signal": "GO"}}]}
    made = await client.post("/api/app/workflows", json=definition, headers=own)
    started = await client.post(
        f"/api/app/workflows/{made.json()['workflow_id']}/execute", json={"wait_ms": 0}, headers=own
    )
    path = f"/api/app/executions/{started.json()['execution_id']}/stream"
    answers = [await client.post("/api/app/stream-tickets", json={"resource": path}, headers=own) for _ in range(count)]
    return path, [answer.json()["ticket"] for answer in answers]


def link_in(message: str) -> str:
    """The link in a message, whose long lines were broken for the way."""
    found = re.search(r"http\S+", re.sub(r"=\r\n", "", message).replace("=3D", "="))
    assert found is not None, message
    return found[0]


async def test_a_mail_server_that_is_away_is_named_without_its_password() -> None:
    mail = SmtpMail("smtp://ann:hidden-word@127.0.0.1:1")
    assert mail.sender == "interlock@127.0.0.1"
    with pytest.raises(InterlockError, match=r"127\.0\.0\.1") as refused:
        await mail.send("ben@example.org", "s", "t")
    assert "hidden-word" not in str(refused.value)


async def test_a_password_is_never_sent_without_encryption() -> None:
    async with mail_server() as server:
        with pytest.raises(InterlockError, match="SMTPNotSupportedError"):
            await SmtpMail(server.url.replace("//", "//ann:hidden-word@")).send("ben@example.org", "s", "t")
        assert server.messages.empty()
