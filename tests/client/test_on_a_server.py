"""The client on a real Interlock, which runs what it is sent in its sandbox."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

import interlock
from interlock.client import AsyncClient, Client, RunCancelled, RunFailed
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


class Cutting:
    """Hands connections on to a server, and cuts the first one that calls a node as soon as its run goes on."""

    def __init__(self, server: RunningServer) -> None:
        self._server = server
        self._open: list[asyncio.StreamWriter] = []
        self._cut: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[str]:
        """Its URL. Raises what kept it from cutting."""
        listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with listener:
            yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
            for writer in self._open:
                writer.close()
        assert self._cut is not None
        await self._cut

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = urlsplit(self._server.url)
        answers, questions = await asyncio.open_connection(there.hostname, there.port)
        self._open += [writer, questions]
        await asyncio.gather(self._hand_on(reader, questions, writer), self._hand_on(answers, writer, questions))

    async def _hand_on(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, other: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError):
            while data := await source.read(65_536):
                target.write(data)
                if data.startswith(b"POST /run_langgraph_task") and self._cut is None:
                    (workflow_id,) = re.findall(rb'"workflow_id": "([^"]+)"', data)
                    self._cut = asyncio.create_task(self._cut_soon(workflow_id.decode(), target, other))
        target.close()

    async def _cut_soon(self, workflow_id: str, *writers: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(20):
            while await runs_of(self._server, workflow_id) != ["RUNNING"]:
                pass
        for writer in writers:
            writer.transport.abort()


async def runs_of(server: RunningServer, workflow_id: str) -> list[str]:
    """How the runs of a workflow stand."""
    headers = {"authorization": f"Bearer {server.token}"}
    async with httpx2.AsyncClient(base_url=server.url, headers=headers) as http:
        answer = await http.get("/api/app/executions", params={"workflow_id": workflow_id})
    return [found["status"] for found in answer.json()["executions"]]


@pytest.mark.parametrize("kind", [AsyncClient, Client])
async def test_a_node_gives_its_result_though_the_connection_breaks(server: RunningServer, kind: Any) -> None:
    def remember(word: str) -> dict:
        import time

        time.sleep(2)
        return {"word": word}

    async with Cutting(server).listen() as url:
        client = kind(url)
        node = await asyncio.to_thread(client.langgraph_node, remember)
        called = node("why") if kind is AsyncClient else asyncio.to_thread(node, "why")
        assert await called == {"word": "why"}
        assert await runs_of(server, client._nodes_in) == ["SUCCESS"]
