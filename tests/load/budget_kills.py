"""A budget over real processes that are killed while callers come and leave: what the provider charged by its count.

    PYTHONPATH=src python tests/load/budget_kills.py --seconds 60 --processes 3

The provider counts what it is asked and what it writes, token by token; a token is three bytes of a prompt.
Prints one JSON object. The exit code is 1 if it charged more than the cap and one estimate for each killed process, if
the books say more than the cap, or if something is still set aside when all leases are over.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sys
import time
from contextlib import AsyncExitStack, suppress
from typing import Any

import httpx2
from aiohttp import web
from stand import stand

from interlock.core.models.requests import read_chat

KEY = "il-a-key-of-the-budget-kills-0123456789"
MESSAGES = [{"role": "user", "content": "hello, what can you do for me?"}]
MAX_TOKENS = 40
BODY = {"model": "m", "messages": MESSAGES, "max_tokens": MAX_TOKENS}
IN, OUT = 1.0, 2.0
"""US dollars for a million tokens."""
PROMPT = read_chat(BODY).prompt_tokens
LEASE_SECONDS = 30.0


class Charging:
    """A provider that writes as many tokens as it may, slowly, and charges for each that it wrote."""

    def __init__(self) -> None:
        self.calls = 0
        self.written = 0

    @property
    def charged(self) -> float:
        """US dollars."""
        return (self.calls * PROMPT * IN + self.written * OUT) / 1_000_000

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.calls += 1
        usage = {"prompt_tokens": PROMPT, "completion_tokens": MAX_TOKENS, "total_tokens": 0}
        if not body.get("stream"):
            for _ in range(MAX_TOKENS):
                self.written += 1
                await asyncio.sleep(0.002)
            return web.json_response({"choices": [{"index": 0, "message": {"content": "x"}}], "usage": usage})
        return await self._stream(request, usage)

    async def _stream(self, request: web.Request, usage: dict[str, int]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        with suppress(ConnectionResetError):
            await response.prepare(request)
            for _ in range(MAX_TOKENS):
                self.written += 1
                await response.write(b'data: {"choices": [{"index": 0, "delta": {"content": "x "}}]}\n\n')
                await asyncio.sleep(0.002)
            end = json.dumps({"choices": [], "usage": usage}).encode()
            await response.write(b"data: " + end + b"\n\ndata: [DONE]\n\n")
        return response


class Callers:
    """Callers of whatever servers there are, who sometimes leave in mid-answer."""

    def __init__(self, place: Any, chance: random.Random) -> None:
        self._place = place
        self._chance = chance
        self.statuses: dict[str, int] = {}

    async def call(self, until: float) -> None:
        """One call after the other."""
        async with httpx2.AsyncClient(timeout=30, headers={"authorization": f"Bearer {KEY}"}) as client:
            while time.monotonic() < until:
                url = self._chance.choice(self._place.servers).url + "/v1/chat/completions"
                body = {**BODY, "stream": self._chance.random() < 0.5}
                patience = 0.04 if self._chance.random() < 0.25 else 30.0
                told = "lost"
                with suppress(TimeoutError, httpx2.HTTPError):
                    async with asyncio.timeout(patience):
                        told = str((await client.post(url, json=body)).status_code)
                self.statuses[told] = self.statuses.get(told, 0) + 1
                if told == "429":
                    await asyncio.sleep(0.05)


async def kill(place: Any, until: float, chance: random.Random) -> int:
    """Kill a server every few seconds, with calls under way, and start another in its place; how many."""
    killed = 0
    while time.monotonic() + 5 < until:
        await asyncio.sleep(chance.uniform(1.5, 4.0))
        number = chance.randrange(len(place.servers))
        place.servers[number].stop(signal.SIGKILL)
        killed += 1
        fresh = place.start()
        place.servers[number] = await asyncio.to_thread(fresh.ready)
    return killed


async def run(seconds: float, processes: int, cap: float, seed: int) -> dict[str, Any]:
    chance = random.Random(seed)
    charging = Charging()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", charging.answer)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/v1"  # type: ignore[union-attr]
    provider = {"base_url": url, "models": ["m"], "prices": {"m": {"input": IN, "output": OUT}}}
    settings = {
        "INTERLOCK_MODEL_PROVIDERS": json.dumps({"p": provider}),
        "MCP_API_KEYS": json.dumps({KEY: {"scopes": ["admin"], "rate_limit_tier": "development"}}),
    }
    async with AsyncExitStack() as stack:
        stack.push_async_callback(runner.cleanup)
        place = await stand(stack, processes, **settings)
        async with httpx2.AsyncClient(headers={"authorization": f"Bearer {KEY}"}, timeout=30) as admin:
            path = "/v1/budgets/tenant"
            (await admin.put(place.servers[0].url + path, json={"cap_usd": cap})).raise_for_status()
            until = time.monotonic() + seconds
            callers = Callers(place, chance)
            killing = asyncio.create_task(kill(place, until, chance))
            await asyncio.gather(*(callers.call(until) for _ in range(12)))
            killed = await killing
            left = await _settled(admin, place.servers[0].url)
    request = read_chat(BODY)
    estimate = request.most_prompt * IN / 1e6 + request.most_output * OUT / 1e6
    return {
        "processes": processes,
        "killed": killed,
        "calls": charging.calls,
        "statuses": callers.statuses,
        "cap_usd": cap,
        "charged_usd": round(charging.charged, 6),
        "allowed_usd": round(cap + killed * estimate, 6),
        "booked_usd": round(left["spent_usd"], 6),
        "held_usd": left["held_usd"],
        "estimate_usd": estimate,
        "seed": seed,
    }


async def _settled(admin: httpx2.AsyncClient, url: str) -> dict[str, Any]:
    """The budget when nobody calls any more and the leases of the dead are over."""
    deadline = time.monotonic() + 3 * LEASE_SECONDS + 60
    found: dict[str, Any] = {}
    while time.monotonic() < deadline:
        found = (await admin.get(url + "/v1/budgets")).json()["data"][0]
        if found["held_usd"] == 0:
            break
        await asyncio.sleep(1)
    return found


def main() -> None:
    """Run, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--cap", type=float, default=0.1, help="US dollars")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    told = asyncio.run(run(options.seconds, options.processes, options.cap, options.seed))
    is_good = (
        told["charged_usd"] <= told["allowed_usd"]
        and told["booked_usd"] <= told["cap_usd"] + 1e-9
        and told["held_usd"] == 0
        and told["killed"] > 0
        and told["statuses"].get("429", 0) > 0
    )
    print(json.dumps({"passed": is_good, **told}))
    sys.exit(not is_good)


if __name__ == "__main__":
    main()
