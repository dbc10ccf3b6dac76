"""Commands about nodes that flows can run: register one that is called over HTTP, list all, delete one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from interlock.doors.cli.calling import caller_of, carry_out_async
from interlock.doors.cli.failures import DONE
from interlock.doors.cli.options import AsJson, Url
from interlock.doors.cli.output import Output
from interlock.doors.cli.registry_tables import nodes_table
from interlock.doors.cli.server import TEMPO, segment

SHOWN_ONCE = "Keep the secret now: it cannot be shown again. It signs our calls and your callbacks."
NodeArgument = Annotated[str, typer.Argument(metavar="NODE", help="Id of a node.", show_default=False)]


def register(
    context: typer.Context,
    node: NodeArgument,
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="What is called.", show_default=False)],
    name: Annotated[
        str, typer.Option("--name", metavar="TEXT", help="What people call it. Default: its id.", show_default=False)
    ] = "",
    description: Annotated[
        str, typer.Option("--description", metavar="TEXT", help="What it does.", show_default=False)
    ] = "",
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0.001, help="How long a callback may take.")
    ] = 3600.0,
    rotate: Annotated[bool, typer.Option("--rotate", help="Make a new secret.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Register a node that is called over HTTP, and show its secret once."""
    output = Output(as_json=as_json)

    async def work() -> int:
        body: dict[str, Any] = {"node_id": node, "endpoint": address, "name": name or node, "rotate_secret": rotate}
        body |= {"description": description, "timeout_seconds": timeout}
        async with caller_of(context).server(url, door=TEMPO) as server:
            made = await server.post("/registry/nodes", body)
        output.json(made)
        if made.get("callback_secret"):
            output.line(str(made["callback_secret"]), style="bold")
            output.note(SHOWN_ONCE)
        output.line(f"Node {node} is registered. Flows name it webhook://{node}.")
        return DONE

    carry_out_async(output, work)


def list_nodes(context: typer.Context, url: Url = None, as_json: AsJson = False) -> None:
    """List the nodes of the tenant and those of the system."""
    output = Output(as_json=as_json)

    async def work() -> int:
        async with caller_of(context).server(url, door=TEMPO) as server:
            nodes = await server.get_list("/registry/nodes")
        output.json(nodes)
        output.show(nodes_table(nodes))
        return DONE

    carry_out_async(output, work)


def delete(context: typer.Context, node: NodeArgument, url: Url = None, as_json: AsJson = False) -> None:
    """Forget a node; sessions that run keep what they need."""
    output = Output(as_json=as_json)

    async def work() -> int:
        async with caller_of(context).server(url, door=TEMPO) as server:
            await server.delete(f"/registry/nodes/{segment(node)}")
        output.json({"node_id": node, "deleted": True})
        output.line(f"Node {node} is deleted.")
        return DONE

    carry_out_async(output, work)
