"""Many clients at one session and at one key, over several servers, and what must be true of it afterwards.

Clients repeat a request that got no answer under the same ``event_id``, so servers may be killed meanwhile.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2

STATES = 450
"""As many as a flow may have, and some to spare."""
GIVE_UP = 60.0
"""Seconds until an answer must have come."""


@dataclass
class Operation:
    """One event on its way: who wanted to leave which state, when it was asked and answered, and how."""

    client: int
    state: int
    asked: float
    answered: float = 0.0
    status: int = 0
    body: Any = None


@dataclass
class Race:
    """What clients saw of one session."""

    session_id: str
    operations: list[Operation] = field(default_factory=list)


def chain(states: int = STATES) -> str:
    """A flow whose user leads it through all of its states, one after the other, by NEXT."""
    names = [f"s{number}" for number in range(states)]
    steps = [f"  - {{from: {here}, event: NEXT, to: {there}}}" for here, there in itertools.pairwise(names)]
    listed = ", ".join(names)
    return "\n".join((f"states: [{listed}]", f"user_input_states: [{', '.join(names[:-1])}]", "transitions:", *steps))


class Clients:
    """Callers of several servers, by turns; a server that is away is asked again, or another one in its place."""

    def __init__(self, servers: Sequence[httpx2.AsyncClient], seed: int) -> None:
        self._servers = servers
        self._random = random.Random(seed)
        self.repeated: Counter[str] = Counter()
        """How often was asked again, by what came instead of an answer."""

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        """The first answer of any server that is not that it cannot answer now, or not so many at a time.

        Who is told when to try again waits about so long, as a client should: a refusal costs a server far less than
        it costs us, so that thousands who ask again at once would only keep this process from sending anything.
        """
        async with asyncio.timeout(GIVE_UP):
            while True:
                server = self._random.choice(self._servers)
                try:
                    answer = await server.request(method, path, json=body, headers=headers)
                except httpx2.TransportError as error:
                    self.repeated[type(error).__name__] += 1
                    await asyncio.sleep(0.05)
                    continue
                if answer.status_code not in (429, 503, 504):
                    return answer
                self.repeated[str(answer.status_code)] += 1
                await asyncio.sleep(0.02 + float(answer.headers.get("retry-after", 0)) * self._random.uniform(0.2, 1.0))

    async def step_aside(self) -> None:
        """Let others go first, some a little longer than others."""
        await asyncio.sleep(self._random.uniform(0.0, 0.1))

    async def run_on(self, race: Race, client: int, until: float) -> None:
        """Push NEXT again and again, each time from the state that was seen last."""
        state = 0
        path = f"/api/workflow/{race.session_id}/event"
        while state < STATES - 1 and time.monotonic() < until:
            operation = Operation(client, state, time.monotonic())
            told = {
                "event_type": "NEXT",
                "expected_state": f"s{state}",
                "event_id": f"{client}/{len(race.operations)}/{state}",
                "payload": {"client": client, "state": state},
            }
            race.operations.append(operation)
            answer = await self.ask("POST", path, told)
            operation.answered, operation.status, operation.body = time.monotonic(), answer.status_code, answer.json()
            state = _state_of(operation)


def _state_of(operation: Operation) -> int:
    """Where the session stands by this answer."""
    body = operation.body
    assert operation.status in (200, 409), body
    if operation.status == 200:
        return int(body["new_state"][1:])
    assert body["code"] == "STATE_CONFLICT", body
    return int(body["details"]["current_state"][1:])


def check(race: Race, events: Sequence[Any]) -> Counter[str]:
    """One winner for each state, and a log that some order of the answers explains; how many won and lost."""
    pushed = [event for event in events if event["type"] == "NEXT"]
    assert [event["payload"]["state"] for event in pushed] == list(range(len(pushed))), "one step after the other"
    assert [event["tick"] for event in events] == list(range(1, len(events) + 1))
    winners = [operation for operation in race.operations if operation.status == 200]
    by_state = {operation.state: operation for operation in winners}
    assert len(by_state) == len(winners) == len(pushed), "exactly one winner for each state"
    for event in pushed:
        winner = by_state[event["payload"]["state"]]
        assert event["payload"]["client"] == winner.client
        assert event["tick"] == winner.body["tick"], "the winner is told the number of its own event"
    _check_order(race, [by_state[state] for state in range(len(by_state))])
    return Counter("won" if operation.status == 200 else "lost" for operation in race.operations)


def _check_order(race: Race, winners: list[Operation]) -> None:
    """No step ends before an earlier one begins; a loser is told of a state that was reached meanwhile."""
    latest = 0.0
    for winner in winners:
        assert winner.answered >= latest, "a step was answered before an earlier one was asked for"
        latest = max(latest, winner.asked)
    for loser in (operation for operation in race.operations if operation.status == 409):
        seen = _state_of(loser)
        assert seen > loser.state, "nobody loses from the state the session is in"
        assert winners[seen - 1].asked <= loser.answered, "a state nobody had asked for yet"
        assert seen == len(winners) or winners[seen].answered >= loser.asked, "a state that was left long before"


async def add_up(clients: Clients, path: str, times: int) -> int:
    """Count a key up by compare-and-set, and append to a list beside it; how often somebody else was quicker."""
    refused = 0
    for _ in range(times):
        while True:
            found = await clients.ask("GET", path)
            value = found.json()["value"] or {"sum": 0, "list": []}
            mine = {"sum": value["sum"] + 1, "list": [*value["list"], value["sum"]]}
            written = await clients.ask("PUT", path, {"value": mine}, **{"if-match": found.headers["etag"]})
            if written.status_code == 200:
                break
            assert written.status_code == 412, written.text
            refused += 1
            await clients.step_aside()
    return refused
