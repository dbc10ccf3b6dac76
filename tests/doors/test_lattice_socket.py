"""The socket of a run: who may open it, and what becomes of it when its server stops."""

from __future__ import annotations

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
    headers = {"authorization": f"Bearer {token}"}
    transport = httpx2.ASGITransport(app=house.app())
    async with httpx2.AsyncClient(transport=transport, base_url=BASE, headers=headers) as client:
        lattice = Lattice(client, BASE)
        workflow_id = await lattice.workflow()
        await lattice.saved(workflow_id, "slow", SLOW)
        return workflow_id, await lattice.run(workflow_id), token


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
