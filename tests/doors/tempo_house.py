"""A caller of the tempo door in local mode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx2


@dataclass(frozen=True)
class Tempo:
    """Calls this door as a tenant of its own."""

    http: httpx2.AsyncClient
    tenant_id: str

    async def call(self, method: str, path: str, status: int = 200, **options: Any) -> Any:
        """The body of an answer with this status."""
        answer = await self.http.request(method, path, **options)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def get(self, path: str, status: int = 200) -> Any:
        return await self.call("GET", path, status)

    async def post(self, path: str, body: Any, status: int = 200, **headers: str) -> Any:
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.call("POST", path, status, json=body, headers=told)

    async def put(self, path: str, value: Any, status: int = 200, **headers: str) -> Any:
        told = {name.replace("_", "-"): found for name, found in headers.items()}
        return await self.call("PUT", path, status, json={"value": value}, headers=told)

    async def started(self, body: Any) -> str:
        """Start a session; its id."""
        return str((await self.post("/api/workflow/start", body))["session_id"])

    async def pushed(self, session_id: str, event_type: str, status: int = 200, **more: Any) -> Any:
        return await self.post(f"/api/workflow/{session_id}/event", {"event_type": event_type, **more}, status)

    async def registered(self, flow_id: str, text: str, status: int = 200) -> Any:
        """Register a flow of this YAML."""
        told = {"flow_id": flow_id, "name": f"Flow {flow_id}", "yaml_content": text}
        return await self.post("/api/registry/flows", told, status)

    async def events(self, session_id: str) -> list[Any]:
        found: list[Any] = (await self.get(f"/api/workflow/{session_id}/events?limit=1000"))["events"]
        return found

    async def types(self, session_id: str) -> list[str]:
        return [event["type"] for event in await self.events(session_id)]

    async def state(self, session_id: str) -> Any:
        return await self.get(f"/api/workflow/{session_id}/state")

    async def board(self, session_id: str) -> Any:
        return (await self.get(f"/api/state/{session_id}"))["state"]
