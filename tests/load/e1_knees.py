"""E1: how many starts, events, reads and attached streams a second one server sustains, each measured by itself.

    PYTHONPATH=src python tests/load/e1_knees.py --seconds 10

Requests come at a rate of their own. The rate grows by a quarter until p99 exceeds 250 ms or something is refused; the
one before that is the knee. *start* starts an execution of one step, *event* moves one of many sessions, *read* looks
at an execution, and *attach* opens the event stream of an execution that has ended and takes it to its end.

Prints one JSON object with the curve of each; the exit code is 1 if one of them sustains nothing, or is refused with
anything but 429 and 503.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from typing import Any

import uvloop
from open_loop import Load, find_knee, request_of
from stand import Stand, stand

ECHO = {"name": "Echo", "nodes": [{"id": "a", "type": "echo"}], "connections": []}
TENANT = "measured"
SESSIONS = 200
READERS = 50
"""Principals who open streams; each may hold twenty at a time."""
TENANTS_OF_READERS = 5
FIRST = {"start": 200.0, "event": 200.0, "read": 400.0, "attach": 50.0}
"""The rate to begin with, a second."""


async def started(place: Stand, token: str) -> tuple[str, str]:
    """A stored workflow and one execution of it that has ended: where more are started, and where that one is."""
    async with place.servers[0].client(token) as client:
        stored = (await client.post("/api/app/workflows", json=ECHO)).raise_for_status().json()
        path = f"/api/app/workflows/{stored['workflow_id']}/execute"
        done = (await client.post(path, json={"wait_ms": 5000})).raise_for_status().json()
        return path, f"/api/app/executions/{done['execution_id']}"


async def sessions(place: Stand, token: str) -> list[str]:
    """The paths at which sessions that can be turned for ever take events."""
    flow = await place.flow(TENANT)
    async with place.servers[0].client(token) as client:
        begun = [await client.post("/api/workflow/start", json={"flow_id": flow}) for _ in range(SESSIONS)]
    return [f"/api/workflow/{answer.raise_for_status().json()['session_id']}/event" for answer in begun]


async def streams(place: Stand, port: int) -> list[bytes]:
    """A request for a stream of each of the readers."""
    found = []
    for number in range(READERS):
        token = place.token(f"reader-{number}", f"readers-{number % TENANTS_OF_READERS}")
        _, execution = await started(place, token)
        found.append(request_of("GET", f"{execution}/stream", port, token))
    return found


def in_turn(requests: Iterable[bytes]) -> Callable[[], bytes]:
    """One after the other, for ever."""
    return itertools.cycle(requests).__next__


async def run(seconds: float) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        place = await stand(stack, 1)
        port = place.servers[0].port
        token = place.token("somebody", TENANT)
        start, execution = await started(place, token)
        turn = json.dumps({"event_type": "TURN"}).encode()
        events = [request_of("POST", path, port, token, turn) for path in await sessions(place, token)]
        asked = {
            "start": in_turn([request_of("POST", start, port, token, b"{}")]),
            "event": in_turn(events),
            "read": in_turn([request_of("GET", execution, port, token)]),
            "attach": in_turn(await streams(place, port)),
        }
        found: dict[str, Any] = {}
        for name, next_request in asked.items():
            load = Load(port, next_request)
            await load.press(FIRST[name], 3.0)
            knee, curve = await find_knee(load, FIRST[name], seconds)
            await load.hang_up()
            found[name] = {"knee": round(knee, 1), "curve": curve}
        return {**found, "load_average": os.getloadavg()}


def is_good(found: dict[str, Any]) -> bool:
    """Whether a curve has a rate that was sustained, and nothing but what may be answered."""
    statuses = {status for step in found["curve"] for status in step["statuses"]}
    return statuses <= {200, 429, 503} and any(step["good_a_second"] for step in found["curve"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each rate is kept up")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # the load must cost less than the server
        found = runner.run(run(options.seconds))
    print(json.dumps(found, indent=2))
    return 0 if all(is_good(found[name]) for name in FIRST) else 1


if __name__ == "__main__":
    sys.exit(main())
