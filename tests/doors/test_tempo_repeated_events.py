"""D4 on the socket: an event that comes three times, out of order and after the end has one effect."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import ClientConnection, connect

from doors.tempo_house import Tempo
from interlock.kit.ids import RandomIds
from served import RunningServer

TURNING = """
states: [even, odd, done]
initial_state: even
terminal_states: [done]
user_input_states: [even, odd]
transitions:
  - {from: even, event: TURN, to: odd}
  - {from: odd, event: TURN, to: even}
  - {from: even, event: END, to: done}
"""


@pytest.fixture
async def tempo(server: RunningServer) -> AsyncIterator[Tempo]:
    tenant_id = f"t-{RandomIds().new().hex}"
    async with httpx2.AsyncClient(base_url=server.url, headers={"X-Tenant-Id": tenant_id}) as client:
        flow = {"flow_id": "turning", "name": "Turning", "yaml_content": TURNING}
        (await client.post("/api/registry/flows", json=flow)).raise_for_status()
        yield Tempo(client, tenant_id)


def watching(server: RunningServer, tempo: Tempo, session_id: str) -> connect:
    url = server.url.replace("http://", "ws://")
    return connect(f"{url}/ws/events/{session_id}?tenant_id={tempo.tenant_id}&live=1")


async def push(socket: ClientConnection, event_id: str, kind: str = "TURN") -> dict[str, Any]:
    """What the server answers to one event."""
    told = {"event_type": kind, "event_id": event_id, "id": RandomIds().new().hex}
    await socket.send(json.dumps(told))
    async with asyncio.timeout(10):
        while True:
            found = json.loads(await socket.recv())
            if found["payload"].get("in_reply_to") == told["id"]:
                return dict(found["payload"])


async def test_an_event_counts_once_however_often_and_late_it_comes(server: RunningServer, tempo: Tempo) -> None:
    session_id = await tempo.started({"flow_id": "turning"})
    async with watching(server, tempo, session_id) as socket, watching(server, tempo, session_id) as other:
        first = [await push(socket, event_id) for event_id in ("e1", "e2", "e3")]
        assert [answer["new_state"] for answer in first] == ["odd", "even", "odd"]
        for event_id in ("e3", "e1", "e2", "e1"):
            assert (await push(other, event_id))["ok"]
        assert (await push(socket, "e4"))["new_state"] == "even"
        assert (await push(socket, "end", "END"))["session_state"] == "completed"
    assert (await tempo.types(session_id)).count("TURN") == 4
    late = [
        await tempo.http.post(f"/api/workflow/{session_id}/event", json=body(event_id)) for event_id in ("e5", "e5")
    ]
    assert {answer.status_code for answer in late} == {422}, "the contract of this door says 422 where others say 409"
    assert late[0].json()["code"] == late[1].json()["code"]
    assert (await tempo.types(session_id)).count("TURN") == 4


def body(event_id: str) -> dict[str, str]:
    return {"event_type": "TURN", "event_id": event_id}
