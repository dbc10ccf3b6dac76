"""The metric names that clients of the lattice family scrape: there from the start, and true after a run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from doors.conftest import BASE, House
from doors.lattice_house import Lattice
from interlock.backends.telemetry.prometheus import PrometheusTelemetry
from interlock.backends.telemetry.sums import sum_of
from interlock.doors.http.app_factory import all_operations, all_sockets

NAMES = {
    "lattice_task",
    "lattice_task_duration_seconds",
    "lattice_task_queue_size",
    "lattice_task_in_progress",
    "lattice_workflow",
    "lattice_workflow_duration_seconds",
    "lattice_workflow_in_progress",
    "lattice_api_request",
    "lattice_api_request_duration_seconds",
    "lattice_node_count",
}
Samples = dict[str, float]


def samples(text: str) -> Samples:
    """Every sample of these names, its labels in its name."""
    return {
        sample.name + "".join(f",{key}={value}" for key, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if family.name.startswith("lattice_") and not sample.name.endswith(("_created", "_bucket"))
    }


@pytest.fixture
async def lattice(house: House) -> AsyncIterator[Lattice]:
    token = house.identity.mint("ann", f"tenant-{house.ids.new()}")
    transport = httpx2.ASGITransport(app=house.app())
    headers = {"authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(transport=transport, base_url=BASE, headers=headers) as client:
        yield Lattice(client, BASE)


async def scraped(lattice: Lattice) -> Samples:
    answer = await lattice.http.get("/metrics")
    assert answer.status_code == 200
    return samples(answer.text)


async def ended(lattice: Lattice, run_id: str) -> str:
    async with asyncio.timeout(20):
        while not (run := await lattice.call("GET", f"/runs/{run_id}?wait_ms=10000"))["finished_at"]:
            pass
    return str(run["status"])


def test_they_are_there_before_anything_happened() -> None:
    found = {family.name for family in text_string_to_metric_families(PrometheusTelemetry("1").expose().decode())}
    assert found >= NAMES


def test_processes_that_share_their_workers_count_them_once() -> None:
    text = PrometheusTelemetry("1")
    text.tasks_placed(3, 2)
    told = samples(sum_of([text.expose(), text.expose()]).decode())
    assert (told["lattice_node_count"], told["lattice_task_in_progress"]) == (2, 6)


async def test_they_are_true_after_runs(lattice: Lattice) -> None:
    before = await scraped(lattice)
    good, bad, stuck = [await lattice.workflow() for _ in range(3)]
    await lattice.saved(good, "one", "def one(params):\n    return {}")
    await lattice.saved(bad, "bad", "def bad(params):\n    raise ValueError('no')")
    await lattice.saved(stuck, "stuck", "def stuck(params):\n    return {}", resources={"gpu": 1})
    waiting = await lattice.run(stuck, resource_policy="queue")
    assert [await ended(lattice, await lattice.run(workflow)) for workflow in (good, bad)] == ["completed", "failed"]
    after = await scraped(lattice)

    def grown(name: str) -> float:
        return after.get(name, 0) - before.get(name, 0)

    assert grown("lattice_task_total,status=succeeded") == grown("lattice_task_total,status=failed") == 1
    assert grown("lattice_task_duration_seconds_count") == 1
    assert grown("lattice_workflow_total,status=succeeded") == grown("lattice_workflow_total,status=failed") == 1
    assert grown("lattice_workflow_duration_seconds_count") == 2
    assert grown("lattice_task_queue_size") == grown("lattice_workflow_in_progress") == 1
    assert (grown("lattice_task_in_progress"), after["lattice_node_count"]) == (0, 1)
    call = "lattice_api_request_total,endpoint=/run_workflow,method=POST,status_code=200"
    assert grown(call) == grown("lattice_api_request_duration_seconds_count,endpoint=/run_workflow") == 3

    cancelled = await lattice.post("/cancel_run", {"run_id": waiting})
    assert cancelled["state"] == "cancelled"
    last = await scraped(lattice)
    assert last["lattice_task_queue_size"] == before["lattice_task_queue_size"]
    assert (
        last["lattice_workflow_total,status=cancelled"] - before.get("lattice_workflow_total,status=cancelled", 0) == 1
    )


async def test_labels_are_bounded(lattice: Lattice) -> None:
    before = await scraped(lattice)  # other tests of this process have routes of their own
    await lattice.http.get("/get_workflow_tasks/whatever")
    await lattice.http.get("/nothing/at/all")
    known = {operation.route for operation in (*all_operations(lambda: b""), *all_sockets())} | {"unmatched"}
    after = await scraped(lattice)
    told = [
        name
        for name, value in after.items()
        if name.startswith("lattice_api_request_total") and value > before.get(name, 0)
    ]
    assert {name.split(",")[1].removeprefix("endpoint=") for name in told} <= known
    assert "lattice_api_request_total,endpoint=unmatched,method=GET,status_code=404" in told
