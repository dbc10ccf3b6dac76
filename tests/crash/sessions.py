"""Sessions of the tempo door: started, called back and pushed on while servers die; a webhook is told of all of it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any
from uuid import UUID

from crash.client import APP, GaveUp
from crash.clock import steady, wall
from crash.judge import check_done, check_load, ids_of
from crash.load import Load, Promise
from crash.stage import Stage, Stuck

FLOW = "kept"
STEPS = ("ask", "fetch")
EVENTS = ("execution.started", "execution.succeeded", "callback.received")
"""What the sink subscribes to."""
GATE_SECONDS = 180.0
TOLD_SECONDS = 120.0
YAML = """
states: [ask, gate, fetch, end]
state_node_map: {{ask: "webhook://asker", fetch: {fetch}}}
user_input_states: [gate]
transitions:
  - {{from: ask, event: STEP_DONE, to: gate}}
  - {{from: gate, event: GO, to: fetch}}
  - {{from: fetch, event: STEP_DONE, to: end}}
"""
PUSHED = """
select execution_id::text, data ->> 'signal_id', count(*) from interlock.events
where type = 'signal.received' and execution_id = any ($1::uuid[]) group by 1, 2"""
ACCEPTED = """
select execution_id::text, data ->> 'node_id', count(*) from interlock.events
where type = 'callback.received' and coalesce(data ->> 'accepted', 'true') = 'true'
  and execution_id = any ($1::uuid[])
group by 1, 2 having count(*) > 1"""
LATE = """
select count(*) from interlock.events
where type = 'callback.received' and data ->> 'accepted' = 'false' and execution_id = any ($1::uuid[])"""
WANTED = """
select execution_id::text, seq from interlock.events
where type = any ($2::text[]) and execution_id = any ($1::uuid[])"""
UNTOLD = """
select (select count(*) from interlock.outbox)
  + (select count(*) from interlock.deliveries where status = 'pending') as left"""
OF_FLOW = "select workflow_id::text from interlock.registry_flows where flow_id = $1"


async def store_sessions(stage: Stage) -> None:
    """Register the node and the flow, and subscribe the sink to what happens in its sessions."""
    back = ",".join(server.url for server in stage.servers)
    hooks = {step: f"{stage.sink}/hook/{step}?back={back}" for step in STEPS}
    node = {"node_id": "asker", "name": "Asker", "endpoint": hooks["ask"], "headers": {"X-Kept": "sealed"}}
    await _asked(stage, "/api/registry/nodes", node)
    text = YAML.format(fetch=json.dumps(hooks["fetch"]))
    await _asked(stage, "/api/registry/flows", {"flow_id": FLOW, "name": FLOW, "yaml_content": text})
    workflow_id = await stage.observer.value(OF_FLOW, FLOW)
    told = {"url": f"{stage.sink}/told", "events": list(EVENTS), "workflow_id": workflow_id}
    await _asked(stage, f"{APP}/webhooks", told)
    await asyncio.sleep(2.0)  # the other servers learn of a first subscription within a second


class SessionLoad(Load):
    """Starts sessions and moves each on by an event; ``pushed`` are the events that were acknowledged."""

    def __init__(self, stage: Stage, rate: float) -> None:
        super().__init__(stage, "session", FLOW, rate)
        self.pushed: list[tuple[str, str]] = []

    async def _start(self, ref: str) -> None:
        try:
            body = {"flow_id": FLOW, "params": {"ref": ref}, "wait_ms": 0}
            session_id = str((await _asked(self._stage, "/api/workflow/start", body, ref))["session_id"])
            self.promises.append(Promise(ref, session_id, wall()))
            await self._move_on(session_id, ref)
        except (GaveUp, RuntimeError) as error:
            self.given_up.append(f"{ref}: {error}")

    async def _move_on(self, session_id: str, ref: str) -> None:
        """Wait for the gate and push the event that opens it; every third event is sent twice."""
        until, pause = steady() + GATE_SECONDS, 0.5
        state = None
        while state != "gate":
            if steady() > until:
                raise RuntimeError(f"the session stood in {state} for {GATE_SECONDS:g} s")
            await asyncio.sleep(pause)
            pause = min(8.0, pause * 1.5)  # many that wait must not be what the servers are busy with
            path = f"/api/workflow/{session_id}/state"
            answer = await self._stage.client.insist(self._stage.running, "GET", path)
            state = answer.body["current_state"]
        event_id = f"{ref}-go"
        body = {"event_type": "GO", "event_id": event_id, "payload": {"ref": ref}, "wait_ms": 0}
        for _ in range(2 if event_id.endswith(("0-go", "3-go", "6-go", "9-go")) else 1):
            await _asked(self._stage, f"/api/workflow/{session_id}/event", body)
        self.pushed.append((session_id, event_id))


async def settle_sessions(stage: Stage) -> float:
    """Wait until the sink has called back for the last time and was told of everything; the seconds it took."""
    begun = steady()
    while await stage.observer.value(UNTOLD) or any(row[2] is None for row in _callbacks(stage)):
        if steady() - begun > TOLD_SECONDS:
            raise Stuck(f"callbacks or messages are still under way after {TOLD_SECONDS:g} s")
        await asyncio.sleep(0.2)
    return steady() - begun


async def check_sessions(stage: Stage, load: SessionLoad) -> None:
    """Every session ended, each step and event once; callbacks count once; the sink was told of everything."""
    await check_load(stage, load)
    await check_done(stage, [(promise.execution_id, step) for promise in load.promises for step in STEPS])
    ids = ids_of(load.promises)
    observer, verdict = stage.observer, stage.verdict
    times = {(row[0], row[1]): row[2] for row in await observer.fetch(PUSHED, ids)}
    verdict.expect_none("every acknowledged event is in the log once", (p for p in load.pushed if times.get(p) != 1))
    verdict.expect_none("no step took two callbacks", map(tuple, await observer.fetch(ACCEPTED, ids)))
    _check_callbacks(stage)
    await _check_messages(stage, ids)
    verdict.counts |= {
        "sessions": len(load.promises),
        "events_pushed": len(load.pushed),
        "late_callbacks_in_logs": int(await observer.value(LATE, ids)),
    }


def _check_callbacks(stage: Stage) -> None:
    """What the sink heard: each callback was answered clearly, and each step received one at most."""
    callbacks, verdict = _callbacks(stage), stage.verdict
    unclear = (f"{row[0]}/{row[1]}: {row[2]} {row[3]}" for row in callbacks if row[2] != 200)
    verdict.expect_none("every callback got a clear answer", unclear)
    received = Counter((row[0], row[1]) for row in callbacks if row[3] == "received")
    verdict.expect_none("no callback was received twice", (where for where, times in received.items() if times > 1))
    became = Counter(row[3] for row in callbacks)
    verdict.counts |= {f"callbacks_{word}": became[word] for word in ("received", "duplicate", "ignored")}
    verdict.prove("callbacks came in time, twice and too late", all(became[w] for w in ("received", "ignored")), became)


async def _check_messages(stage: Stage, ids: list[UUID]) -> None:
    """The sink was told of every event it had asked for, under one id of its own."""
    wanted = {(row[0], row[1]) for row in await stage.observer.fetch(WANTED, ids, list(EVENTS))}
    messages: dict[tuple[str, int], list[str]] = {}
    for message, execution, seq in _ledger(stage, "select message, execution, seq from messages"):
        messages.setdefault((execution, seq), []).append(message)
    verdict = stage.verdict
    verdict.expect_none("every subscribed event was told", wanted - messages.keys())
    verdict.expect_none("nothing was told that did not happen", messages.keys() - wanted)
    verdict.expect_none("every event was told under one id", _several(messages))
    shared = Counter(message for told in messages.values() for message in set(told))
    verdict.expect_none("no id was used for two events", (name for name, times in shared.items() if times > 1))
    verdict.counts |= {"messages": len(messages), "messages_repeated": sum(map(len, messages.values())) - len(messages)}


def _several(messages: dict[tuple[str, int], list[str]]) -> Iterator[tuple[str, int]]:
    yield from (where for where, told in messages.items() if len(set(told)) > 1)


def _callbacks(stage: Stage) -> list[Any]:
    return list(_ledger(stage, "select execution, step, status, became from callbacks"))


def _ledger(stage: Stage, question: str) -> Iterable[Any]:
    with closing(sqlite3.connect(f"file:{stage.directory / 'sink.db'}?mode=ro", uri=True)) as connection:
        return connection.execute(question).fetchall()


async def _asked(stage: Stage, path: str, body: Any, key: str | None = None) -> Any:
    """The answer to a POST that was repeated until it was clear. Raises GaveUp, RuntimeError for a refusal."""
    answer = await stage.client.insist(stage.running, "POST", path, body, key)
    if answer.status >= 400:
        raise RuntimeError(f"{path} was refused with {answer.status}: {answer.body}")
    return answer.body
