"""An endpoint that answers 500 for a while, and many sessions that want it.

    PYTHONPATH=src python tests/load/e5_failing_endpoint.py --sessions 300 --seconds 40

Every session calls the endpoint by a webhook node. Prints one JSON object: how often the endpoint was called while it
failed, in all and in the worst second once the first ten calls had failed; how many tries that is for each session;
and how the calls came back when it was well again. The exit code is 1 if a session did not end well within
``--patience`` seconds of that, or if the endpoint was asked too often meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import uvloop
from aiohttp import web

sys.path.insert(0, str(Path(__file__).parent))

from stand import Stand, stand

TENANT = "patient"
OPENING_SECONDS = 5.0
"""Until then the endpoint may be called by all that started before anybody knew."""
MOST_A_SECOND = 5
FLOW = """
states: [call, end]
state_node_map: {{call: {url}}}
transitions:
  - {{from: call, event: STEP_DONE, to: end}}
retry: {{call: {{max_attempts: 20, base_seconds: 1, max_seconds: 15}}}}
"""


class Endpoint:
    """Fails until it is told to be well; ``calls`` are the times of all calls, ``keys`` what they were for."""

    def __init__(self) -> None:
        self.is_well = False
        self.calls: list[float] = []
        self.keys: Counter[str] = Counter()

    async def take(self, request: web.Request) -> web.Response:
        self.calls.append(asyncio.get_running_loop().time())
        self.keys[request.headers["Idempotency-Key"]] += 1
        if not self.is_well:
            return web.Response(status=500)
        return web.json_response({"status": "success", "result": 1})

    async def serve(self, stack: AsyncExitStack) -> str:
        """Serve on a port of this machine; its address."""
        app = web.Application()
        app.router.add_post("/", self.take)
        runner = web.AppRunner(app)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}/"


async def start_all(client: Any, count: int) -> list[str]:
    """Start so many sessions, ten at a time; their ids."""
    turn = asyncio.Semaphore(10)

    async def one() -> str:
        async with turn:
            answer = await client.post("/api/workflow/start", json={"flow_id": "e5", "wait_ms": 0})
            answer.raise_for_status()
            return str(answer.json()["session_id"])

    return list(await asyncio.gather(*(one() for _ in range(count))))


async def ended(client: Any, sessions: list[str], patience: float) -> Counter[str]:
    """What became of the sessions, once none moves any more or time is up."""
    until = asyncio.get_running_loop().time() + patience
    left, became = set(sessions), Counter[str]()
    while left and asyncio.get_running_loop().time() < until:
        for session_id in sorted(left):
            state = (await client.get(f"/api/workflow/{session_id}/state")).json()["session_state"]
            if state in ("completed", "error"):
                became[state] += 1
                left.discard(session_id)
        await asyncio.sleep(0.5)
    return became + Counter({"unfinished": len(left)})


async def measure(told: argparse.Namespace, servers: Stand, endpoint: Endpoint, url: str) -> dict[str, Any]:
    """Start, fail, heal, and count."""
    async with servers.servers[0].client(servers.token("author", TENANT)) as client:
        body = {"flow_id": "e5", "name": "E5", "yaml_content": FLOW.format(url=json.dumps(url))}
        (await client.post("/api/registry/flows", json=body)).raise_for_status()
        loop = asyncio.get_running_loop()
        begun = loop.time()
        sessions = await start_all(client, told.sessions)
        started = loop.time() - begun
        await asyncio.sleep(max(0.0, told.seconds - started))
        healed, endpoint.is_well = loop.time(), True
        became = await ended(client, sessions, told.patience)
    failing = [at for at in endpoint.calls if at < healed]
    first = min(endpoint.calls) + OPENING_SECONDS
    later = Counter(int(at - first) for at in failing if at >= first)
    back = Counter(int(at - healed) for at in endpoint.calls if at >= healed)
    return {
        "sessions": told.sessions,
        "seconds_failing": round(healed - begun, 1),
        "started_in_s": round(started, 1),
        "calls_while_failing": len(failing),
        "calls_for_each_session": round(len(failing) / told.sessions, 2),
        "worst_second_after_opening": max(later.values(), default=0),
        "completed": became["completed"],
        "failed": became["error"],
        "unfinished": became["unfinished"],
        "keys": len(endpoint.keys),
        "back_in_s": round(max(endpoint.calls) - healed, 1),
        "worst_second_coming_back": max(back.values(), default=0),
        "mean_second_coming_back": round(sum(back.values()) / max(1, len(back)), 1),
    }


async def main(told: argparse.Namespace) -> int:
    async with AsyncExitStack() as stack:
        endpoint = Endpoint()
        url = await endpoint.serve(stack)
        servers = await stand(stack, 1, INTERLOCK_EGRESS_ALLOW="loopback")
        figures = await measure(told, servers, endpoint, url)
    print(json.dumps(figures, indent=2))
    is_well = figures["completed"] == figures["keys"] == told.sessions
    is_gentle = figures["worst_second_after_opening"] <= MOST_A_SECOND
    return 0 if is_well and is_gentle else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--patience", type=float, default=60.0)
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(uvloop.run(main(parser.parse_args())))
