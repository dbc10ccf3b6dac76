"""The client on a real Interlock, which runs what it is sent in its sandbox."""

from __future__ import annotations

import pytest

import interlock
from interlock.client import AsyncClient, RunCancelled, RunFailed
from served import RunningServer


@interlock.task
def many(params: dict) -> dict:
    return {"rows": [n * 1.5 for n in range(params["count"])], "count": params["count"]}


@interlock.task
def hand_on(params: dict) -> dict:
    return {"rows": params["rows"]}


@interlock.task
def total(params: dict) -> dict:
    return {"sum": sum(params["rows"])}


@interlock.task(timeout=30)
def sleep_long(params: dict) -> dict:
    import time

    time.sleep(30)
    return {}


async def test_large_results_are_shown_whole_and_handed_on(server: RunningServer) -> None:
    graph = interlock.Graph("large")
    passed = graph.add(many, count=100_000)
    for _ in range(3):
        passed = graph.add(hand_on, rows=passed["rows"])
    summed = graph.add(total, rows=passed["rows"])
    results = await (await AsyncClient(server.url).run(graph)).result(60)
    assert results[passed] == {"rows": [n * 1.5 for n in range(100_000)]}
    assert results[summed] == {"sum": sum(n * 1.5 for n in range(100_000))}
    sizes = [path.stat().st_size for path in (server.data_dir / "blobs").rglob("*") if path.is_file()]
    assert max(sizes) > 500_000  # a file of its own, beside the embedded database


async def test_values_that_look_like_expressions_are_only_values(server: RunningServer) -> None:
    graph = interlock.Graph("plain")
    node = graph.add(hand_on, rows="{{ $json }} and {{ 1 + 1 }}")
    results = await (await AsyncClient(server.url).run(graph)).result(60)
    assert results[node] == {"rows": "{{ $json }} and {{ 1 + 1 }}"}


async def test_a_run_can_be_cancelled_and_started_once(server: RunningServer) -> None:
    client, graph = AsyncClient(server.url), interlock.Graph("slow")
    graph.add(sleep_long)
    run = await client.run(graph)
    assert await run.cancel() == "cancelled"
    with pytest.raises(RunCancelled):
        await run.result(20)


async def test_a_missing_output_fails_the_task_that_needs_it(server: RunningServer) -> None:
    graph = interlock.Graph("missing")
    graph.add(total, rows=graph.add(hand_on, rows=[1])["no_such_key"])
    with pytest.raises(RunFailed, match=r"total: .*INPUT_MISSING"):
        await (await AsyncClient(server.url).run(graph)).result(60)
