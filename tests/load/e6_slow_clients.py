"""E6 and E7: slow clients and idle connections at full scale cost the others little, and are gone in time.

    PYTHONPATH=src python tests/load/e6_slow_clients.py --each 500 --idle 5000

So many clients each trickle their headers, trickle their bodies, or say nothing; then so many connections are opened
that do nothing at all. Meanwhile a normal client asks. Prints one JSON object; the exit code is 1 if a slow client was
kept for longer than 15 s, or the normal client's p99 was more than twice what it is alone.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import resource
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from stand import percentiles, resident_mb, stand

from serving import Serving

CLOSED_WITHIN = 15.0
POST = b"POST /api/app/workflows HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nAuthorization: Bearer %b\r\n"


async def slow_client(port: int, head: bytes, drops: bytes) -> float:
    """Send ``head`` at once and then a byte a second; how long the server put up with it, seconds."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    with contextlib.suppress(ConnectionError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        began = loop.time()
        reading = asyncio.create_task(reader.read())
        reading.add_done_callback(lambda done: done.exception())
        writer.write(head)
        for number in range(60):
            await asyncio.wait([reading], timeout=1.0)
            if reading.done():
                break
            writer.write(drops[number : number + 1])
        writer.close()
    return loop.time() - began


def ask(url: str) -> None:
    """Ask a hundred times a second until the standard input ends; print the seconds of each answer.

    The first line of the input is the token.
    """
    with httpx2.Client(base_url=url, headers={"authorization": f"Bearer {sys.stdin.readline().strip()}"}) as client:
        client.get("/api/app/workflows?limit=1").raise_for_status()
        print("ready", flush=True)
        until = threading.Event()

        def wait() -> None:
            sys.stdin.read()
            until.set()

        threading.Thread(target=wait, daemon=True).start()
        found: list[float] = []
        while not until.wait(0.01):
            began = time.monotonic()
            client.get("/api/app/workflows?limit=1").raise_for_status()
            found.append(time.monotonic() - began)
    print(json.dumps(found))


@asynccontextmanager
async def asking(server: Serving) -> AsyncIterator[list[float]]:
    """An ordinary client, in a process of its own: it must not wait for what this one does. Filled at the end."""
    command = [sys.executable, __file__, "--ask", server.url]
    pipe = asyncio.subprocess.PIPE
    client = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=16 * 1_048_576)
    assert client.stdin is not None
    assert client.stdout is not None
    client.stdin.write(f"{server.token}\n".encode())
    assert await client.stdout.readline() == b"ready\n"
    found: list[float] = []
    yield found
    client.stdin.close()
    found.extend(json.loads(await client.stdout.read()))
    await client.wait()


async def alone(server: Serving, seconds: float) -> list[float]:
    """What an ordinary client gets with nothing beside it."""
    async with asking(server) as found:
        await asyncio.sleep(seconds)
    return found


async def beside_slow_clients(server: Serving, each: int) -> dict[str, Any]:
    token = server.token.encode()
    heads = [
        (b"GET /live HTTP/1.1\r\nHost: h\r\nX-Slow: ", b"x" * 60),
        (POST % token + b"Content-Length: 1000\r\n\r\n", b" " * 60),
        (b"", b""),
    ]
    async with asking(server) as beside:
        lasted = await asyncio.gather(*(slow_client(server.port, *heads[number % 3]) for number in range(3 * each)))
    return {"clients": len(lasted), "longest_s": round(max(lasted), 2), "beside": percentiles(beside)}


async def beside_idle_connections(server: Serving, count: int) -> dict[str, Any]:
    """Connections that have asked once and then rest, as browsers leave them; those refused are counted."""
    request = b"GET /live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    opened: list[asyncio.StreamWriter] = []
    refused = 0
    turns = asyncio.Semaphore(100)

    async def open_one() -> None:
        nonlocal refused
        async with turns:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
            except (ConnectionError, asyncio.IncompleteReadError):
                refused += 1
                return
        if head.startswith(b"HTTP/1.1 200 "):
            opened.append(writer)
        else:
            refused += 1
            writer.close()

    async with asking(server) as beside:
        await asyncio.gather(*(open_one() for _ in range(count)))
        await asyncio.sleep(5.0)
    files = len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))
    most = int(re.search(r"Max open files\s+(\d+)", Path(f"/proc/{server.process.pid}/limits").read_text())[1])
    told = {"connections": count, "open": len(opened), "refused": refused, "files": files, "most_files": most}
    for writer in opened:
        writer.close()
    return {**told, "beside": percentiles(beside), "resident_mb": resident_mb(server.process.pid)}


async def refused_by_reason(client: httpx2.AsyncClient) -> dict[str, float]:
    text = (await client.get("/metrics")).text
    found = re.findall(r'^interlock_connections_refused_total\{reason="(\w+)"\} (\S+)$', text, re.MULTILINE)
    return {reason: float(count) for reason, count in found}


async def run(each: int, idle: int, per_address: int) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        place = await stand(stack, 1, INTERLOCK_CONNECTIONS_PER_ADDRESS=str(per_address))
        server = place.servers[0]
        client = await stack.enter_async_context(server.client())
        await alone(server, 2.0)
        base = percentiles(await alone(server, 10.0))
        slow = await beside_slow_clients(server, each)
        resting = await beside_idle_connections(server, idle)
        return {
            "alone": base,
            "slow": {**slow, "ratio_p99": round(slow["beside"]["p99"] / base["p99"], 2)},
            "idle": {**resting, "ratio_p99": round(resting["beside"]["p99"] / base["p99"], 2)},
            "refused_by_reason": await refused_by_reason(client),
            "load_average": os.getloadavg(),
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=500, help="slow clients of each of the three kinds")
    parser.add_argument("--idle", type=int, default=5_000, help="connections that rest")
    parser.add_argument("--per-address", type=int, default=4_000, help="connections that one address may hold")
    parser.add_argument("--ask", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask:
        ask(options.ask)
        return 0
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 65_536), most))
    found = asyncio.run(run(options.each, options.idle, options.per_address))
    print(json.dumps(found, indent=2))
    return int(found["slow"]["longest_s"] > CLOSED_WITHIN or found["slow"]["ratio_p99"] > 2)


if __name__ == "__main__":
    sys.exit(main())
