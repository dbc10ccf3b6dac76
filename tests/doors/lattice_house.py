"""An ordinary client of the lattice door against a server as a user starts it, without a credential."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

SOON = 20.0  # a deadline, reached only when something is wrong


@dataclass(frozen=True)
class Lattice:
    """Calls this door."""

    http: httpx2.AsyncClient
    url: str
    token: str = ""

    async def call(self, method: str, path: str, status: int = 200, **options: Any) -> Any:
        """The body of an answer with this status."""
        answer = await self.http.request(method, path, **options)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def post(self, path: str, body: Any = None, status: int = 200, **headers: str) -> Any:
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.call("POST", path, status, json=body, headers=told)

    async def workflow(self) -> str:
        return str((await self.post("/create_workflow"))["workflow_id"])

    async def task(self, workflow_id: str, name: str | None) -> str:
        """An empty task."""
        body = {"workflow_id": workflow_id, "task_type": "code", "task_name": name}
        return str((await self.post("/add_task", body))["task_id"])

    async def saved(self, workflow_id: str, name: str, code: str, **more: Any) -> str:
        """A task with code."""
        task_id = await self.task(workflow_id, name)
        body = {"workflow_id": workflow_id, "task_id": task_id, "code_str": code, "task_name": name, **more}
        await self.post("/save_task_and_add_edge", body)
        return task_id

    async def tasks(self, workflow_id: str) -> list[tuple[str, str]]:
        found = await self.call("GET", f"/get_workflow_tasks/{workflow_id}")
        return [(task["id"], task["name"]) for task in found["tasks"]]

    async def run(self, workflow_id: str, **more: Any) -> str:
        return str((await self.post("/run_workflow", {"workflow_id": workflow_id, **more}))["run_id"])

    @asynccontextmanager
    async def socket(self, workflow_id: str, run_id: str, query: str = "") -> AsyncIterator[ClientConnection]:
        url = self.url.replace("http://", "ws://")
        told = {"authorization": f"Bearer {self.token}"} if self.token else {}
        path = f"{url}/get_workflow_res/{workflow_id}/{run_id}{query}"
        async with connect(path, max_size=None, additional_headers=told) as connection:
            yield connection

    async def watched(self, workflow_id: str, run_id: str, query: str = "") -> tuple[list[Any], int | None]:
        """All frames of a run, and the code of the close behind them."""
        async with self.socket(workflow_id, run_id, query) as connection:
            return await to_end(connection)

    async def frames(self, workflow_id: str, run_id: str, query: str = "") -> list[Any]:
        """All frames of a run, which is closed normally."""
        frames, code = await self.watched(workflow_id, run_id, query)
        assert code == 1000
        return frames


async def frame(connection: ClientConnection) -> Any:
    """The next frame."""
    async with asyncio.timeout(SOON):
        return json.loads(await connection.recv())


async def to_end(connection: ClientConnection) -> tuple[list[Any], int | None]:
    """The frames that come, and the code of the close behind them."""
    found = []
    try:
        while True:
            found.append(await frame(connection))
    except ConnectionClosed as closed:
        return found, closed.rcvd.code if closed.rcvd is not None else None


def of_user(**values: Any) -> dict[str, Any]:
    """``task_input`` of values."""
    return {
        "input_params": {str(at): _param(key, "from_user", value) for at, (key, value) in enumerate(values.items())}
    }


def of_task(**values: str) -> dict[str, Any]:
    """``task_input`` of references."""
    return {
        "input_params": {str(at): _param(key, "from_task", value) for at, (key, value) in enumerate(values.items())}
    }


def _param(key: str, schema: str, value: Any) -> dict[str, Any]:
    return {"key": key, "input_schema": schema, "data_type": "any", "value": value}


def kinds(frames: list[Any]) -> list[tuple[str, str]]:
    """Type and task of each frame."""
    return [(found["type"], found["data"].get("task_id", "")) for found in frames]
