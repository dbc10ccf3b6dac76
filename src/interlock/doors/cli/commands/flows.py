"""Commands about registered flows: register, list, show, graph."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from interlock.doors.cli.calling import caller_of, carry_out_async
from interlock.doors.cli.diagram import draw
from interlock.doors.cli.failures import DONE
from interlock.doors.cli.inputs import read_text
from interlock.doors.cli.options import AsJson, Url
from interlock.doors.cli.output import Output
from interlock.doors.cli.registry_tables import flow_diagram, flows_table
from interlock.doors.cli.server import TEMPO, segment
from interlock.doors.cli.texts import one_line

FlowArgument = Annotated[str, typer.Argument(metavar="FLOW", help="Id of a flow.", show_default=False)]
FlowFile = Annotated[Path, typer.Argument(metavar="FILE", help="A flow as YAML.", show_default=False)]


def register(
    context: typer.Context,
    file: FlowFile,
    flow_id: Annotated[
        str, typer.Option("--id", metavar="ID", help="What clients call it. Default: the file's name.")
    ] = "",
    name: Annotated[
        str, typer.Option("--name", metavar="TEXT", help="What people call it. Default: its id.", show_default=False)
    ] = "",
    description: Annotated[
        str,
        typer.Option("--description", metavar="TEXT", help="Default: the one in the file.", show_default=False),
    ] = "",
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Register a flow, or its next version; sessions that run keep theirs."""
    output = Output(as_json=as_json)

    async def work() -> int:
        called = flow_id or file.stem
        body: dict[str, Any] = {"flow_id": called, "name": name or called, "yaml_content": read_text(file)}
        if description:
            body["description"] = description
        async with caller_of(context).server(url, door=TEMPO) as server:
            flow = await server.post("/registry/flows", body)
        output.json(flow)
        output.line(f"Flow {called} is registered, version {flow.get('version')}.")
        for warning in flow.get("warnings") or []:
            output.note(f"Warning: {warning}")
        output.line(f"See it with `interlock flows graph {called}`; start it with `interlock sessions start {called}`.")
        return DONE

    carry_out_async(output, work)


def list_flows(context: typer.Context, url: Url = None, as_json: AsJson = False) -> None:
    """List the flows of the tenant and those of the system."""
    output = Output(as_json=as_json)

    async def work() -> int:
        async with caller_of(context).server(url, door=TEMPO) as server:
            flows = await server.get_list("/registry/flows")
        output.json(flows)
        output.show(flows_table(flows))
        return DONE

    carry_out_async(output, work)


def show(context: typer.Context, flow: FlowArgument, url: Url = None, as_json: AsJson = False) -> None:
    """Show a flow as it was registered."""
    output = Output(as_json=as_json)

    async def work() -> int:
        async with caller_of(context).server(url, door=TEMPO) as server:
            found = await server.get(f"/registry/flows/{segment(flow)}")
        output.json(found)
        output.line(f"{found.get('flow_id')}, version {found.get('version')}: {one_line(found.get('name'), 200)}")
        for line in str(found.get("yaml_content")).splitlines():
            output.line(line)
        return DONE

    carry_out_async(output, work)


def graph(context: typer.Context, flow: FlowArgument, url: Url = None, as_json: AsJson = False) -> None:
    """Draw the states of a flow and the events between them."""
    output = Output(as_json=as_json)

    async def work() -> int:
        async with caller_of(context).server(url, door=TEMPO) as server:
            found = await server.get(f"/registry/flows/{segment(flow)}")
        output.json(found.get("graph"))
        output.show(draw(flow_diagram(found), f"{found.get('flow_id')}, version {found.get('version')}", {}, {}))
        return DONE

    carry_out_async(output, work)
