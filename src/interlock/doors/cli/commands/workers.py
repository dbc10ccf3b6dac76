"""Commands about the workers of a server: who they are, and emptying one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.table import Table

from interlock.core.errors import ErrorKind
from interlock.doors.cli.calling import caller_of, carry_out_async
from interlock.doors.cli.failures import DONE, failure
from interlock.doors.cli.options import AsJson, Url
from interlock.doors.cli.output import Output
from interlock.doors.cli.server import Server
from interlock.doors.cli.tables import plain_table
from interlock.doors.cli.texts import shown

LATTICE = ""
"""The door of workers has no prefix."""
WorkerArgument = Annotated[str, typer.Argument(metavar="WORKER", help="Id of a worker.", show_default=False)]
_AMOUNTS = {"cpu": "cores", "cpu_mem": "MiB", "gpu": "GPUs"}


def list_workers(context: typer.Context, url: Url = None, as_json: AsJson = False) -> None:
    """List the machines that tasks run on.

    What is free is that of the server process that answers.
    """
    output = Output(as_json=as_json)

    async def work() -> int:
        async with caller_of(context).server(url, door=LATTICE) as server:
            workers = await _workers(server)
        output.json({"workers": workers})
        output.show(_table(workers))
        return DONE

    carry_out_async(output, work)


def show(context: typer.Context, worker: WorkerArgument, url: Url = None, as_json: AsJson = False) -> None:
    """Show one worker: what it has, and what of that is free."""
    output = Output(as_json=as_json)

    async def work() -> int:
        async with caller_of(context).server(url, door=LATTICE) as server:
            found = next((each for each in await _workers(server) if each["node_id"] == worker), None)
        if found is None:
            step = "See the ids with `interlock workers list`."
            raise failure(ErrorKind.NOT_FOUND, "NOT_FOUND", f"Worker {worker} not found", step)
        output.json(found)
        output.show(_table([found]))
        return DONE

    carry_out_async(output, work)


def drain(
    context: typer.Context,
    worker: WorkerArgument,
    grace: Annotated[
        float, typer.Option("--grace", metavar="SECONDS", min=0, max=86_400, help="How long its tasks may run on.")
    ] = 30.0,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Give a worker no new tasks; what still runs after the grace runs elsewhere."""
    output = Output(as_json=as_json)

    async def work() -> int:
        async with caller_of(context).server(url, door=LATTICE) as server:
            told = await server.post("/disconnect_worker", {"node_id": worker, "grace_seconds": grace})
        output.json(told)
        output.line(f"Worker {worker} gets nothing new; {told['running']} tasks run there, for {grace:g} s at most.")
        return DONE

    carry_out_async(output, work)


async def _workers(server: Server) -> list[dict[str, Any]]:
    return list((await server.get("/get_workers"))["workers"])


def _table(workers: Sequence[Mapping[str, Any]]) -> Table:
    table = plain_table("Worker", "State", "Address", "Has", "Free", "Last seen")
    for worker in workers:
        has = {**worker["resources"], "gpu": len(worker["resources"]["gpu_resource"])}
        free = {**worker["free"]}
        row = (worker["node_id"], worker["state"], worker["node_ip"], _amounts(has), _amounts(free))
        table.add_row(*map(shown, row), shown(worker["last_seen_at"]))
    return table


def _amounts(amounts: Mapping[str, Any]) -> str:
    told = [f"{amounts[name]:g} {word}" for name, word in _AMOUNTS.items() if amounts.get(name)]
    return ", ".join(told) or "nothing"
