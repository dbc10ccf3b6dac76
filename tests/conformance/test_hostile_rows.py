"""Rows that somebody wrote past the server: nothing in them is ever run, and what cannot be read is said so (I6)."""

from __future__ import annotations

import base64
import json
import os
import pickle
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from structlog.testing import capture_logs

from engine_house import House, chain, node, signal
from figures import Note
from interlock.backends.blobs.folder import FolderBlobs
from interlock.backends.blobs.postgres import PostgresBlobs
from interlock.backends.executor.pool.messages import read_child, read_server
from interlock.backends.executor.ray import messages as ray
from interlock.backends.store.postgres.ledger import PostgresLedger
from interlock.core.errors import InterlockError
from interlock.core.ids import ExecutionId
from interlock.services.executions.read import ReadExecutions


class Bomb:
    """A pickle that leaves a file as soon as it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (os.system, (f"touch {self.path}",))


def disguises(canary: Path) -> list[Any]:
    """Values that one reader or another makes objects of, or calls; here they are nothing but values."""
    touch = f"touch {canary}"
    packed = pickle.dumps(Bomb(canary))
    return [
        {"lc": 2, "type": "constructor", "id": ["os", "system"], "kwargs": {"command": touch}},
        {"lc": 1, "type": "constructor", "id": ["subprocess", "Popen"], "kwargs": {"args": touch, "shell": True}},
        {"lc": 1, "type": "secret", "id": ["INTERLOCK_ENCRYPTION_KEY"]},
        {"py/object": "os.system", "py/reduce": [{"py/function": "os.system"}, {"py/tuple": [touch]}]},
        {"py/type": "subprocess.Popen"},
        {"__reduce__": ["os.system", [touch]]},
        {"__class__": "os.system", "__init__": touch},
        {"$type": "System.Diagnostics.Process", "arguments": touch},
        {"@type": "java.lang.ProcessBuilder"},
        {"!!python/object/apply:os.system": [touch]},
        {"__type__": "pickle", "data": base64.b64encode(packed).decode()},
        {"type": "msgpack", "ext": 5, "data": packed.hex()},
        "!!python/object/apply:os.system ['" + touch + "']",
        packed.decode("latin-1").replace("\0", ""),
        base64.b64encode(packed).decode(),
        f"{{{{ __import__('os').system('{touch}') }}}}",
        f"${{7*7}} $({touch}) `{touch}`",
        {"code": "0" * 64, "form": "pickle", "args": "0" * 64},
        "\x1b[2J\u202e<script>alert(1)</script>",
    ]


WAITS = chain(node("w", "wait", signal="go"), node("last"))


async def waiting(house: House, engine: Any) -> UUID:
    """An execution that waits for a signal, and that no process owns or remembers any more."""
    standing = await house.start(engine, WAITS)
    assert standing.status == "waiting"
    return UUID(str(standing.execution_id))


async def test_values_that_others_would_run_stay_values(house: House, tmp_path: Path, note_figures: Note) -> None:
    canary = tmp_path / "canary"
    first = await house.engine("first")
    hidden = disguises(canary)
    ids = [await waiting(house, first) for _ in hidden]
    first.drain()
    await first.close(1.0)
    house.engines.remove(first)
    for execution_id, value in zip(ids, hidden, strict=True):
        await house.rows(
            "update interlock.events set data = (data::jsonb || jsonb_build_object('input', $2::jsonb))::json "
            "where execution_id = $1 and type = 'execution.started' returning 1",
            execution_id,
            json.dumps(value),
        )
        await house.rows(
            "update interlock.executions set input = $2::json where execution_id = $1 returning 1",
            execution_id,
            json.dumps(value),
        )
    heir = await house.engine("heir")
    for execution_id, value in zip(ids, hidden, strict=True):
        await heir.signal(signal(house, execution_id, "go", value))
        ended = await heir.standing(ExecutionId(execution_id), 10)
        assert (ended.status, ended.output) == ("succeeded", value)
    assert not canary.exists()
    note_figures(hostile_values=len(hidden), hostile_values_run=0)


DEEP = "[" * 2500 + "]" * 2500
ROWS: dict[str, tuple[str, str]] = {
    "an unknown type": ("events", "type = 'os.system'"),
    "a number for a text": ("events", 'data = (data::jsonb || \'{"task_id": 7, "node_id": 7}\')::json'),
    "a list for an object": ("events", "data = '[1, 2]'"),
    "nothing": ("events", "data = 'null'"),
    "a text": ("events", "data = '\"os.system\"'"),
    "a number for an object": ("events", "data = (data::jsonb || '{\"placement\": 7}')::json"),
    "data within data": ("events", f"data = '{DEEP}'"),
    "a version that is none": ("versions", 'definition = \'{"type": "flow", "states": 7}\''),
    "a version of another kind": ("versions", 'definition = \'{"type": "os.system"}\''),
    "a version within itself": ("versions", f"definition = '{DEEP}'"),
}


async def spoil(house: House, execution_id: UUID, table: str, change: str) -> None:
    """Change the rows of an execution past the server."""
    where = {
        "events": "execution_id = $1 and type = 'task.started'",
        "versions": "version_id = (select version_id from interlock.executions where execution_id = $1)",
    }
    await house.rows(f"update interlock.{table} set {change} where {where[table]} returning 1", execution_id)


async def test_rows_that_nobody_can_read_are_told_and_nothing_of_them_is_run(house: House, note_figures: Note) -> None:
    """They cost their own execution; it waits as it is until somebody restores it, and all others go on."""
    first = await house.engine("first")
    ids = {name: await waiting(house, first) for name in ROWS}
    good = await waiting(house, first)
    first.drain()
    await first.close(1.0)
    house.engines.remove(first)
    for name, (table, change) in ROWS.items():
        await spoil(house, ids[name], table, change)
    before = {name: await house.log(execution_id) for name, execution_id in ids.items()}
    with capture_logs() as logs:
        heir = await house.engine("heir")
        await house.rows("update interlock.live set wake_at = now() where owner is null returning 1")
        await heir.signal(signal(house, good, "go"))
        assert (await heir.standing(ExecutionId(good), 10)).status == "succeeded"
        await house.until(lambda: ids_of(logs) >= set(map(str, ids.values())), "all of them are told")
        assert (await house.start(heir, chain(node("a")), input=1)).status == "succeeded"
    told = {line["execution_id"]: line.get("code") for line in logs if line["event"] == "reading.failed"}
    assert {name: told[str(execution_id)] for name, execution_id in ids.items()} == dict.fromkeys(
        ids, "STORED_UNREADABLE"
    )
    assert {name: await house.log(execution_id) for name, execution_id in ids.items()} == before
    note_figures(hostile_rows=len(ROWS), hostile_rows_run=0)
    await answers_are_typed(house, heir, ids)


def ids_of(logs: Any) -> set[str]:
    return {line["execution_id"] for line in logs if line["event"] == "reading.failed"}


async def answers_are_typed(house: House, engine: Any, ids: dict[str, UUID]) -> None:
    """Whoever asks for them is told the same; an event of an unknown type is passed over, as it may be a new one."""
    ledger = PostgresLedger(house.database.serve_url)
    await ledger.open()
    house.stack.push_async_callback(ledger.close)
    read = ReadExecutions(house.store, engine, PostgresBlobs(ledger.connection))
    for name, execution_id in ids.items():
        if name == "an unknown type":
            assert (await read.detail(house.tenant.principal, execution_id)).view.last_seq > 0
            continue
        with pytest.raises(InterlockError) as refused:
            await read.detail(house.tenant.principal, execution_id)
        assert refused.value.code == "STORED_UNREADABLE", name


NAMES = ("../../../../etc/passwd", "/etc/passwd", "0" * 64, "", "0" * 63 + "\n", "os.system", "x" * 10_000)


async def test_references_lead_to_the_tenants_own_blobs_and_nowhere_else(database: Any, tmp_path: Path) -> None:
    ledger = PostgresLedger(database.serve_url)
    await ledger.open()
    for blobs in (PostgresBlobs(ledger.connection), FolderBlobs(tmp_path)):
        foreign = await blobs.put("another", b"theirs")
        for asked in (*NAMES, foreign):
            with pytest.raises(InterlockError) as refused:
                await blobs.get("tenant", asked)
            assert refused.value.code == "BLOB_NOT_FOUND"
    await ledger.close()


def test_no_executor_takes_an_object_for_a_plan() -> None:
    """What passes between processes is JSON or msgpack of declared types: no extension makes an object of it."""
    bombs = [pickle.dumps(Bomb(Path("/nowhere"))), b'{"say":"os.system"}', b"\xc7\x05\x05" + b"hello", b"\xd4\x01\x00"]
    for decoder in (read_child, read_server, ray.read_plan, ray.read_driver, ray.read_server):
        for bomb in bombs:
            with pytest.raises((msgspec.MsgspecError, UnicodeError)):
                decoder.decode(bomb)
