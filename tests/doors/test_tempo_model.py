"""C2: any order of calls, and the server says after each what a model in plain Python says.

``INTERLOCK_MODEL_EXAMPLES=500`` plays more games, of as many as ``INTERLOCK_MODEL_STEPS`` steps.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from interlock.kit.ids import RandomIds
from served import RunningServer
from tempo_model import Sessions

EXAMPLES = int(os.environ.get("INTERLOCK_MODEL_EXAMPLES", "6"))
STEPS = int(os.environ.get("INTERLOCK_MODEL_STEPS", "20"))


class TakesAll(BaseHTTPRequestHandler):
    """A webhook that answers later, if ever."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(202)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def webhook() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), TakesAll) as listening:
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}/hook"
        listening.shutdown()


async def test_the_server_does_what_the_model_does(server: RunningServer, webhook: str) -> None:
    tenant = {"X-Tenant-Id": f"model-{RandomIds().new().hex}"}
    with httpx2.Client(base_url=server.url, headers=tenant, timeout=30) as client:
        machine = type("Machine", (Sessions,), {"http": client, "webhook": webhook})
        told = settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        )
        await asyncio.to_thread(run_state_machine_as_test, machine, settings=told)


async def test_no_parameters_of_a_caller_break_the_server(server: RunningServer) -> None:
    odd = [None, 1, "x", [], {}, [1], {"a": [None]}, True, "{{", "{{ x", "{{ 1 / 0 }}", -1e308]
    tenant = {"X-Tenant-Id": f"odd-{RandomIds().new().hex}"}
    async with httpx2.AsyncClient(base_url=server.url, headers=tenant, timeout=30) as client:
        for node in (await client.get("/api/registry/nodes")).json():
            names = list(node["param_schema"].get("properties", {}))
            for number in range(len(odd)):
                params = {name: odd[(number + at) % len(odd)] for at, name in enumerate(names)}
                told = {"node_id": node["node_id"], "params": params, "wait_ms": 0}
                answer = await client.post("/api/workflow/start", json=told)
                assert answer.status_code == 200, (node["node_id"], params, answer.text)
