"""Fields under all their names, on every way in; keys and ids of one request, both held to it."""

from __future__ import annotations

from typing import Any

import pytest

from doors.tempo_house import Tempo
from doors.test_tempo_websocket import ECHO, close_code, frame, served, socket, until
from served import RunningServer

__all__ = ["served"]  # the fixture of the socket's tests


async def test_a_key_is_held_to_its_request_beside_a_chosen_session_id(tempo: Tempo) -> None:
    body = {**ECHO, "session_id": "x-1"}
    first = await tempo.post("/api/workflow/start", body, Idempotency_Key="k")
    again = await tempo.http.post("/api/workflow/start", json=body, headers={"Idempotency-Key": "k"})
    assert (again.json(), again.headers["idempotency-replayed"]) == (first, "true")
    other = await tempo.post("/api/workflow/start", {**ECHO, "session_id": "x-2"}, 422, Idempotency_Key="k")
    assert other["code"] == "IDEMPOTENCY_MISMATCH"
    await tempo.get("/api/workflow/x-2/state", 404)
    same = await tempo.post("/api/workflow/start", body)
    assert same["session_id"] == first["session_id"]


async def test_a_key_is_held_to_its_event_beside_an_event_id(tempo: Tempo) -> None:
    session_id = await tempo.started(ECHO)
    path = f"/api/workflow/{session_id}/event"
    body = {"event_type": "USER_CONFIRM", "event_id": "e-1"}
    await tempo.post(path, {"event_type": "BOGUS", "event_id": "e-0"}, 422, Idempotency_Key="k")
    first = await tempo.post(path, body, Idempotency_Key="k")  # what was refused has not used the key up
    assert await tempo.post(path, body, Idempotency_Key="k") == first
    other = await tempo.post(path, {**body, "event_id": "e-2"}, 422, Idempotency_Key="k")
    assert other["code"] == "IDEMPOTENCY_MISMATCH"
    assert (await tempo.types(session_id)).count("USER_CONFIRM") == 1


@pytest.mark.parametrize("payload", [[1], "text", 7, True])
async def test_a_payload_is_an_object(tempo: Tempo, payload: Any) -> None:
    session_id = await tempo.started(ECHO)
    refused = await tempo.pushed(session_id, "USER_CONFIRM", 422, payload=payload)
    assert refused["code"] == "VALIDATION_ERROR"
    assert refused["details"]["errors"][0]["field"] == "payload"


@pytest.mark.parametrize("name", ["event_type", "type", "event"])
async def test_an_event_over_a_socket_has_any_of_its_names(server: RunningServer, served: Tempo, name: str) -> None:
    session_id = await served.started(ECHO)
    async with socket(server, served, session_id, "&live=1") as connection:
        await connection.send(f'{{"{name}": "user_confirm", "id": "c1"}}')
        told = [await frame(connection) for _ in range(4)]
    (answer,) = [found for found in told if found["tick"] == 0]
    assert (answer["type"], answer["payload"]["new_state"]) == ("EVENT_RESULT", "end")


async def test_an_event_over_a_socket_has_one_name_and_an_object(server: RunningServer, served: Tempo) -> None:
    session_id = await served.started(ECHO)
    async with socket(server, served, session_id, "&live=1") as connection:
        await connection.send('{"event_type": "USER_CONFIRM", "type": "other"}')
        assert (await frame(connection))["payload"]["code"] == "INVALID_REQUEST"
        await connection.send('{"event_type": "USER_CONFIRM", "payload": [1]}')
        assert (await frame(connection))["payload"]["code"] == "VALIDATION_ERROR"
    assert (await served.state(session_id))["current_state"] == "echoed"


@pytest.mark.parametrize("query", ["&since=6", "&after=6", "&last_event_id=6", "&since=6&after=6"])
async def test_a_socket_goes_on_behind_a_number_of_any_name(server: RunningServer, served: Tempo, query: str) -> None:
    session_id = await served.started(ECHO)
    await served.pushed(session_id, "USER_CONFIRM")
    async with socket(server, served, session_id, query) as connection:
        assert [found["tick"] for found in await until(connection, "SESSION_COMPLETE")] == [7, 8]


async def test_the_header_wins_and_two_numbers_are_refused(server: RunningServer, served: Tempo) -> None:
    session_id = await served.started(ECHO)
    await served.pushed(session_id, "USER_CONFIRM")
    header = {"additional_headers": {"Last-Event-ID": "6"}}
    async with socket(server, served, session_id, "&after=2", **header) as connection:
        assert [found["tick"] for found in await until(connection, "SESSION_COMPLETE")] == [7, 8]
    async with socket(server, served, session_id, "&after=2&since=3") as connection:
        assert await close_code(connection) == 1008
