"""A graph of LangGraph in this process, whose three nodes run at the same time on the server."""

from __future__ import annotations

import asyncio
import operator
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.graph import END, START, StateGraph

from interlock.client import Client
from served import RunningServer

pytestmark = pytest.mark.xdist_group("served")


class State(TypedDict):
    seconds: float
    found: Annotated[list[dict[str, Any]], operator.add]


def tool(client: Client, name: str) -> Any:
    """A node that says where and when it ran, by the clock that all processes of a machine share."""

    @client.langgraph_node(name=name)
    def node(state: dict[str, Any]) -> dict[str, Any]:
        import os
        import time

        began = time.monotonic()
        time.sleep(state["seconds"])
        run_id = os.environ["INTERLOCK_RUN_ID"]
        return {"found": [{"name": name, "run_id": run_id, "began": began, "ended": time.monotonic()}]}

    return node


def compiled(client: Client) -> Any:
    graph = StateGraph(State)
    for name in ("search", "compute", "summarise"):
        graph.add_node(name, tool(client, name))
        graph.add_edge(START, name)
        graph.add_edge(name, END)
    return graph.compile()


async def test_three_nodes_run_on_the_server_side_by_side(server: RunningServer) -> None:
    graph = await asyncio.to_thread(compiled, Client(server.url))
    for seconds in (0.0, 1.5):  # the first time sandboxes begin
        state = await asyncio.to_thread(graph.invoke, {"seconds": seconds, "found": []})
    found = state["found"]
    assert {each["name"] for each in found} == {"search", "compute", "summarise"}
    assert len({each["run_id"] for each in found}) == 3, "each ran in a run of its own, and none of them here"
    assert max(each["began"] for each in found) < min(each["ended"] for each in found), found
