"""Who may open the socket of the tempo door, and for how long: with an ordinary client, outside local mode."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import ClientConnection

from doors.conftest import BASE
from doors.socket_house import Port, closed, eventually, frame, served
from interlock.core.principal import Scope
from interlock.doors.http.app_factory import build_app
from interlock.doors.http.plumbing import proofs, socket_route
from interlock.services.access import authenticate

ECHO = {"flow_id": "echo_test_flow", "params": {"input": "x"}}


@pytest.fixture
async def port(house: Any) -> AsyncIterator[Port]:
    async with served(house.context(is_local=False)) as found:
        yield found


@pytest.fixture
async def admin(make_caller: Any) -> Any:
    return await make_caller(scopes=frozenset(Scope))


async def started(port: Port, token: str) -> str:
    """A session of whoever holds the token, waiting for USER_CONFIRM behind its fifth event."""
    async with client_of(port, token) as client:
        answer = await client.post("/api/workflow/start", json=ECHO)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["session_id"])


def client_of(port: Port, token: str) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=build_app(port.context, lambda: b""))
    return httpx2.AsyncClient(transport=transport, base_url=BASE, headers={"authorization": f"Bearer {token}"})


async def key_of(admin: Any, *scopes: str) -> Any:
    answer = await admin.post("/api-keys", {"client_name": "n", "scopes": list(scopes)})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def tick(connection: ClientConnection) -> int:
    return int((await frame(connection))["tick"])


async def test_a_first_message_may_say_who_is_there(port: Port, caller: Any) -> None:
    session_id = await started(port, caller.token)
    async with port.socket(session_id) as connection:
        await connection.send(json.dumps({"type": "auth", "token": caller.token, "after": 3}))
        assert [await tick(connection), await tick(connection)] == [4, 5]


async def test_a_header_an_address_and_a_key_are_taken_too(port: Port, house: Any, admin: Any) -> None:
    session_id = await started(port, admin.token)
    key = (await key_of(admin, "executions:read"))["key"]
    short = house.mint(admin, seconds=600)
    for options in (
        {"token": admin.token},
        {"query": f"?token={short}"},
        {"query": f"?access_token={short}"},
        {"additional_headers": {"X-API-Key": key}},
        {"token": key},
    ):
        async with port.socket(session_id, **options) as connection:
            assert await tick(connection) == 1


async def test_nobody_in_particular_is_let_in(
    port: Port, house: Any, caller: Any, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert socket_route.AUTH_SECONDS == 5
    monkeypatch.setattr(socket_route, "AUTH_SECONDS", 0.2)
    session_id = await started(port, caller.token)
    key = (await key_of(admin, "executions:read"))["key"]
    async with port.socket(session_id) as connection:
        assert (await closed(connection))[0] == 4401, "no word in time"
    for first in ({"type": "PING"}, {"type": "auth"}, {"type": "auth", "token": "nonsense"}, {"token": caller.token}):
        async with port.socket(session_id) as connection:
            await connection.send(json.dumps(first))
            assert (await closed(connection))[0] == 4401, first
    for query in (f"?token={caller.token}", f"?token={key}", "?token=x", "?ticket=x", "?tenant_id=default"):
        async with port.socket(session_id, query) as connection:
            assert (await closed(connection))[0] == 4401, query


async def test_a_ticket_opens_its_socket_once(port: Port, caller: Any) -> None:
    session_id = await started(port, caller.token)

    async def ticket(resource: str) -> str:
        return str((await caller.post("/stream-tickets", {"resource": resource})).json()["ticket"])

    good = await ticket(f"/ws/events/{session_id}")
    async with port.socket(session_id, f"?ticket={good}&after=4") as connection:
        assert await tick(connection) == 5
    for bad in (good, await ticket("/ws/events/another")):
        async with port.socket(session_id, f"?ticket={bad}") as connection:
            assert (await closed(connection))[0] == 4401


async def test_who_lacks_the_scope_or_is_of_another_tenant_sees_nothing(
    port: Port, admin: Any, make_caller: Any
) -> None:
    session_id = await started(port, admin.token)
    key = (await key_of(admin, "models:use"))["key"]
    for place in (session_id, "*"):
        async with port.socket(place, token=key) as connection:
            code, reason = await closed(connection)
            assert (code, reason.partition(":")[0]) == (4403, "AUTHORIZATION_FAILED")
    stranger = await make_caller()
    for unknown in (session_id, "no-such-session", session_id + "/x"):
        async with port.socket(unknown, token=stranger.token) as connection:
            assert (await closed(connection))[0] == 4404


async def test_who_may_only_watch_pushes_nothing(port: Port, admin: Any) -> None:
    session_id = await started(port, admin.token)
    key = (await key_of(admin, "executions:read"))["key"]
    async with port.socket(session_id, "?live=1", token=key) as connection:
        await connection.send(json.dumps({"type": "USER_CONFIRM", "id": 7}))
        answer = await frame(connection)
    assert (answer["type"], answer["tick"]) == ("EVENT_ERROR", 0)
    assert (answer["payload"]["in_reply_to"], answer["payload"]["code"]) == (7, "AUTHORIZATION_FAILED")


async def test_refusals_and_pushes_are_audited(port: Port, admin: Any) -> None:
    session_id = await started(port, admin.token)
    key = await key_of(admin, "models:use")
    async with port.socket(session_id, token=key["key"]) as connection:
        assert (await closed(connection))[0] == 4403
    async with port.socket(session_id, "?live=1", token=admin.token) as connection:
        await connection.send(json.dumps({"type": "USER_CONFIRM"}))
        await frame(connection)
        await closed(connection)
    seen: set[tuple[str, str, int]] = set()
    wanted = {
        ("WS /ws/events/{session_id}", "refused", 403),
        ("POST /api/workflow/{session_id}/event", "done", 200),
    }
    async with asyncio.timeout(10):
        while not wanted <= seen:
            entries = (await admin.get("/audit?limit=50")).json()["entries"]
            seen = {(entry["action"], entry["outcome"], entry["status"]) for entry in entries}
            await asyncio.sleep(0.05)


async def test_seats_and_limits_hold_for_sockets(house: Any, admin: Any) -> None:
    key = (await key_of(admin, "executions:read"))["key"]
    limits = {"engine:*": "3/minute"}
    context = house.context(is_local=False, streams_per_principal=1)
    async with served(context) as port:
        session_id = await started(port, admin.token)
        async with port.socket(session_id, token=admin.token) as held:
            assert await tick(held) == 1
            async with port.socket(session_id, token=admin.token) as second:
                code, reason = await closed(second)
                assert (code, reason.partition(":")[0]) == (1013, "RATE_LIMIT_EXCEEDED")
        await eventually(lambda: house.services.watch_execution.feeds == 0)
        async with port.socket(session_id, token=admin.token) as again:
            assert await tick(again) == 1
    async with served(house.context(limits, is_local=False)) as port:
        codes = []
        for _ in range(5):
            async with port.socket("nothing", token=key) as connection:
                codes.append((await closed(connection))[0])
        assert codes == [4404, 4404, 4404, 1013, 1013]


async def test_a_revoked_key_ends_what_it_opened(
    port: Port, admin: Any, open_stream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert proofs.TURN_SECONDS + authenticate.BELIEVED.total_seconds() < 5
    monkeypatch.setattr(proofs, "TURN_SECONDS", 0.05)
    monkeypatch.setattr(authenticate, "BELIEVED", timedelta(0))
    session_id = await started(port, admin.token)
    key = await key_of(admin, "executions:read", "executions:signal")
    async with port.socket(session_id, token=key["key"]) as connection:
        assert await tick(connection) == 1
        assert (await admin.http.delete(f"/api/app/api-keys/{key['id']}")).status_code == 200
        assert (await closed(connection))[0] == 4401


async def test_what_a_ticket_opened_ends_with_the_token_it_was_asked_for_with(
    port: Port, house: Any, caller: Any, open_stream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proofs, "TURN_SECONDS", 0.05)
    session_id = await started(port, caller.token)
    stream = f"/api/app/executions/{session_id}/stream"
    headers = {"authorization": f"Bearer {house.mint(caller, seconds=3)}"}
    tickets = [
        (await caller.http.post("/api/app/stream-tickets", json={"resource": path}, headers=headers)).json()["ticket"]
        for path in (f"/ws/events/{session_id}", stream)
    ]
    answered = open_stream(build_app(port.context, lambda: b""), stream, query=f"ticket={tickets[1]}")
    await answered.until(lambda found: "id: 5\n" in found.text)
    async with port.socket(session_id, f"?ticket={tickets[0]}") as connection:
        assert await tick(connection) == 1
        assert (await closed(connection))[0] == 4401
    assert (await answered.end()).endswith("\n\n")


async def test_a_database_that_is_away_ends_no_stream(
    port: Port, house: Any, caller: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proofs, "TURN_SECONDS", 0.01)
    asked = asyncio.Event()

    async def away(bearer: str) -> Any:
        asked.set()
        raise proofs.InterlockError(proofs.ErrorKind.UNAVAILABLE, "SERVICE_UNAVAILABLE", "away")

    session_id = await started(port, caller.token)
    async with port.socket(session_id, token=caller.token) as connection:
        assert await tick(connection) == 1
        with monkeypatch.context() as patched:
            patched.setattr(house.services.identity, "authenticate", away)
            async with asyncio.timeout(5):
                await asked.wait()
        await connection.send('{"type":"PING"}')
        while (await frame(connection))["type"] != "HEARTBEAT":
            pass


async def test_in_local_mode_a_credential_that_is_said_must_be_true(house: Any, tempo: Any, make_caller: Any) -> None:
    session_id = await tempo.started(ECHO)
    stranger = await make_caller()
    async with served(house.context()) as port:
        for token, code in (("nonsense", 4401), (stranger.token, 4403)):
            async with port.socket(session_id, f"?tenant_id={tempo.tenant_id}") as connection:
                await connection.send(json.dumps({"type": "auth", "token": token}))
                assert (await closed(connection))[0] == code
