"""An id that a client chose for its session: every door takes it, and shows it as it was chosen."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from doors.conftest import Caller, MakeCaller
from doors.tempo_house import Tempo
from interlock.kit.ids import named

ECHO = {"flow_id": "echo_test_flow", "params": {"input": "x"}}


@pytest.mark.parametrize("chosen", ["order-7", "a:b.c_d", "uuid"])
async def test_the_app_door_knows_a_session_by_its_chosen_id(
    tempo: Tempo, make_caller: MakeCaller, chosen: str
) -> None:
    session_id = str(uuid4()) if chosen == "uuid" else chosen
    caller = await make_caller(tempo.tenant_id)
    await tempo.started({**ECHO, "session_id": session_id})
    for path in ("", "/events", "/artifacts"):
        assert (await caller.get(f"/executions/{session_id}{path}")).status_code == 200, path
    shown = (await caller.get(f"/executions/{session_id}")).json()
    assert shown["execution_id"] == shown["id"] == session_id
    listed = (await caller.get("/executions")).json()["executions"]
    assert [found["execution_id"] for found in listed] == [session_id]
    assert (await caller.get(f"/approvals?execution_id={session_id}")).status_code == 200
    moved = await caller.post(f"/executions/{session_id}/signal", {"name": "USER_CONFIRM"})
    assert moved.status_code in (200, 202), moved.text
    assert (await tempo.state(session_id))["session_state"] == "completed"


@pytest.mark.parametrize("chosen", ["order-9", "uuid"])
async def test_the_questions_of_a_session_are_found_by_its_chosen_id(
    tempo: Tempo, make_caller: MakeCaller, chosen: str
) -> None:
    session_id = str(uuid4()) if chosen == "uuid" else chosen
    caller = await make_caller(tempo.tenant_id)
    told = {"node_id": "approval", "params": {"title": "Pay?"}, "session_id": session_id, "wait_ms": 5_000}
    assert await tempo.started(told) == session_id
    (asked,) = (await caller.get("/approvals")).json()["approvals"]
    body = (await caller.get(f"/approvals?execution_id={session_id}")).json()
    assert (body["approvals"], body["total"]) == ([asked], 1)
    by_plain_id = (await caller.get(f"/approvals?execution_id={asked['execution_id']}")).json()
    assert by_plain_id["approvals"] == [asked]
    assert (await caller.get("/approvals?execution_id=order-10")).json()["total"] == 0


async def test_an_id_that_nobody_chose_is_unknown_as_it_was_written(caller: Caller) -> None:
    for text in ("order-8", str(uuid4()), "no such"):
        answer = await caller.get(f"/executions/{text}")
        assert answer.status_code == 404
        assert text in answer.json()["message"]


async def test_an_id_of_another_tenant_is_unknown(tempo: Tempo, make_caller: MakeCaller) -> None:
    await tempo.started({**ECHO, "session_id": "mine"})
    other = await make_caller()
    assert (await other.get("/executions/mine")).status_code == 404


async def test_sessions_are_listed_newest_first_whoever_chose_their_ids(tempo: Tempo, make_caller: MakeCaller) -> None:
    caller = await make_caller(tempo.tenant_id)
    started = []
    for number in range(12):
        chosen = {"session_id": f"order-{number}"} if number % 2 else {}
        started.append(await tempo.started({**ECHO, **chosen}))
    listed = (await caller.get("/executions?limit=12")).json()["executions"]
    assert [found["execution_id"] for found in listed] == started[::-1]


async def test_a_session_with_a_chosen_id_lies_where_others_of_its_time_do(tempo: Tempo, database: Any) -> None:
    for session_id in ("order-1", "order-2"):
        await tempo.started({**ECHO, "session_id": session_id})
    connection = await asyncpg.connect(database.superuser_url)
    try:
        rest = "select count(*) from only interlock.executions_rest where tenant_id = $1"
        assert await connection.fetchval(rest, tempo.tenant_id) == 0
    finally:
        await connection.close()


async def test_a_session_from_before_names_were_kept_is_found_and_started_once(
    tempo: Tempo, make_caller: MakeCaller, database: Any
) -> None:
    """Such an execution has the id that its name was turned into, and its key may have expired since."""
    caller = await make_caller(tempo.tenant_id)
    told = {**ECHO, "session_id": "old-1"}
    await tempo.started(told)
    connection = await asyncpg.connect(database.superuser_url)
    try:
        old = named("session", tempo.tenant_id, "old-1")
        found = "select execution_id from interlock.keys where tenant_id = $1 and scope = 'session'"
        new = await connection.fetchval(found, tempo.tenant_id)
        async with connection.transaction():
            for table in ("executions", "events", "live", "inbox"):
                await connection.execute(
                    f"update interlock.{table} set execution_id = $1 where execution_id = $2", old, new
                )
            await connection.execute("delete from interlock.keys where tenant_id = $1", tempo.tenant_id)
    finally:
        await connection.close()
    assert (await caller.get("/executions/old-1")).status_code == 200
    assert await tempo.started(told) == "old-1"
    assert len((await caller.get("/executions")).json()["executions"]) == 1
