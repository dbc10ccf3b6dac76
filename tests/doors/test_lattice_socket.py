"""The socket of a run: who may open it, and what becomes of it when its server stops."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx2
from websockets.asyncio.client import connect

from doors.conftest import BASE, House
from doors.lattice_house import Lattice, frame, to_end
from doors.socket_house import served
from interlock.doors.http.plumbing.context import Drain

SLOW = "def slow(params):\n    import time\n    time.sleep(0.5)\n    return {'done': True}"


async def started(house: House, tenant_id: str) -> tuple[str, str, str]:
    """A run of one slow task; workflow, run and the token of its owner."""
    token = house.identity.mint("ann", tenant_id)
    async with lattice_of(house, token) as lattice:
        workflow_id = await lattice.workflow()
        await lattice.saved(workflow_id, "slow", SLOW)
        return workflow_id, await lattice.run(workflow_id), token


PLAIN = {"start_task", "finish_task", "task_exception", "finish_workflow"}


@asynccontextmanager
async def lattice_of(house: House, token: str) -> AsyncIterator[Lattice]:
    """A caller with this token."""
    transport = httpx2.ASGITransport(app=house.app())
    headers = {"authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(transport=transport, base_url=BASE, headers=headers) as client:
        yield Lattice(client, BASE)


def watching(number: int, workflow_id: str, run_id: str, token: str, query: str = "") -> Any:
    headers = {"authorization": f"Bearer {token}"}
    url = f"ws://127.0.0.1:{number}/get_workflow_res/{workflow_id}/{run_id}{query}"
    return connect(url, additional_headers=headers)


async def test_a_server_that_stops_says_where_to_go_on(house: House) -> None:
    workflow_id, run_id, token = await started(house, f"tenant-{house.ids.new()}")
    context = replace(house.context(), drain=Drain())
    async with served(context) as port, watching(port.number, workflow_id, run_id, token) as connection:
        first = await frame(connection)
        assert (first["type"], first["seq"]) == ("start_task", 2)
        context.drain.begin()
        assert await to_end(connection) == ([], 1012)
        assert connection.close_reason == "resume after=2"
    async with served(house.context()) as port, watching(port.number, workflow_id, run_id, token, "?after=2") as again:
        rest, code = await to_end(again)
    assert [(found["type"], found["seq"]) for found in rest] == [("finish_task", 3), ("finish_workflow", 4)]
    assert code == 1000


async def test_who_may_not_watch(house: House) -> None:
    tenant_id = f"tenant-{house.ids.new()}"
    workflow_id, run_id, _ = await started(house, tenant_id)
    foreign = house.identity.mint("bob", f"tenant-{house.ids.new()}")
    without = house.identity.mint("cid", tenant_id, {"workflows:write"})
    async with served(house.context()) as port:
        for token, code in ((foreign, 4404), (without, 4403), ("wrong", 4401)):
            async with watching(port.number, workflow_id, run_id, token) as connection:
                assert await to_end(connection) == ([], code)


def of(found: Any, attempt: int) -> bool:
    return bool(found["data"]["attempt"] == attempt)


async def test_the_full_profile_tells_what_tasks_print_before_they_end(house: House) -> None:
    token = house.identity.mint("ann", f"tenant-{house.ids.new()}")
    code = "def talks(params):\n    print('hello')\n    raise ValueError('no')"
    async with lattice_of(house, token) as lattice:
        workflow_id = await lattice.workflow()
        task_id = await lattice.saved(workflow_id, "talks", code, retry={"max_attempts": 2, "backoff_seconds": 0})
        run_id = await lattice.run(workflow_id)
    async with served(house.context()) as port:
        for _ in range(2):  # the first reader sees it happen, the second afterwards
            async with watching(port.number, workflow_id, run_id, token, "?profile=full") as connection:
                frames, code = await to_end(connection)
            assert code == 1000
            told = [found for found in frames if found["type"] != "task_waiting"]
            ends = [found["type"] for found in told if found["type"] != "task_log"]
            assert ends == ["start_task", "task_retry", "start_task", "task_exception", "finish_workflow"]
            for attempt, end in ((1, "task_retry"), (2, "task_exception")):
                lines = [at for at, found in enumerate(told) if found["data"].get("stream") and of(found, attempt)]
                text = dict.fromkeys(("stdout", "stderr"), "")
                for at in lines:
                    text[told[at]["data"]["stream"]] += told[at]["data"]["text"]
                assert text["stdout"] == "hello\n"
                assert text["stderr"].endswith("ValueError: no\n")
                assert lines[-1] == [found["type"] for found in told].index(end) - 1
                assert told[lines[-1]]["data"]["task_id"] == task_id
            assert [found["seq"] for found in told if found["type"] != "task_log"] == [2, 3, 4, 5, 6]
            assert not any("seq" in found for found in frames if found["type"] in ("task_log", "task_waiting"))
        async with watching(port.number, workflow_id, run_id, token) as connection:
            assert {found["type"] for found in (await to_end(connection))[0]} <= PLAIN


async def test_the_full_profile_tells_who_waits_and_what_running_tasks_print(house: House) -> None:
    token = house.identity.mint("ann", f"tenant-{house.ids.new()}")
    code = "def slow(params):\n    import time\n    print('begun', flush=True)\n    time.sleep(60)"
    async with lattice_of(house, token) as lattice, served(house.context()) as port:
        workflow_id = await lattice.workflow()
        slow = await lattice.saved(workflow_id, "slow", code)
        stuck = await lattice.saved(workflow_id, "stuck", code, resources={"gpu": 1})
        run_id = await lattice.run(workflow_id, resource_policy="queue")
        async with watching(port.number, workflow_id, run_id, token, "?profile=full") as connection:
            seen = {}
            while not {"task_log", "task_waiting"} <= seen.keys():
                found = await frame(connection)
                seen[found["type"]] = found["data"]
            assert (seen["task_log"]["task_id"], seen["task_log"]["text"]) == (slow, "begun\n")
            assert (seen["task_waiting"]["task_id"], seen["task_waiting"]["reason"]) == (stuck, "no_capable_worker")
            await lattice.post("/cancel_run", {"run_id": run_id})
            rest, code = await to_end(connection)
        assert ([found["type"] for found in rest if found["type"] != "task_waiting"], code) == (
            ["finish_workflow"],
            1000,
        )
        for query, before in (("?profile=full", ["start_task", "task_log"]), ("", ["start_task"])):
            async with watching(port.number, workflow_id, run_id, token, query) as connection:
                frames, code = await to_end(connection)
            assert ([found["type"] for found in frames], code) == ([*before, "finish_workflow"], 1000)
            assert frames[-1]["data"]["status"] == "cancelled"
