"""Commands that look and change nothing: list, show, watch, approvals, artifacts, health."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from interlock.core.errors import ErrorKind, InterlockError
from interlock.doors.cli.asking import Asker, read_terminal_line
from interlock.doors.cli.calling import Caller, caller_of, carry_out_async, code_of
from interlock.doors.cli.failures import DONE, failure
from interlock.doors.cli.options import AsJson, ExecutionArgument, Url
from interlock.doors.cli.output import Output
from interlock.doors.cli.picture import Picture
from interlock.doors.cli.saving import save_artifacts
from interlock.doors.cli.screens import outcome_line, screen_for
from interlock.doors.cli.server import Server, segment
from interlock.doors.cli.showing import Shown, look, sections
from interlock.doors.cli.signs import status_text
from interlock.doors.cli.storing import workflow_id_of
from interlock.doors.cli.tables import approvals_list, artifacts_table, executions_table, fields_table
from interlock.doors.cli.texts import duration, plural, size
from interlock.doors.cli.watching import Watching, picture_of

Limit = Annotated[int, typer.Option("--limit", metavar="N", min=1, max=100, help="How many at most.")]


def list_executions(
    context: typer.Context,
    status: Annotated[
        str,
        typer.Option("--status", metavar="WORD", help="active, waiting, error, success …", show_default=False),
    ] = "",
    workflow: Annotated[
        str, typer.Option("--workflow", metavar="NAME|ID", help="Only of this workflow.", show_default=False)
    ] = "",
    limit: Limit = 20,
    cursor: Annotated[
        str, typer.Option("--cursor", metavar="CURSOR", help="Go on behind this page.", show_default=False)
    ] = "",
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List executions, newest first."""
    caller, output = caller_of(context), Output(as_json=as_json)

    async def work() -> int:
        async with caller.server(url) as server:
            found = await server.get(
                "/executions",
                status=status or None,
                workflow_id=await workflow_id_of(server, workflow) if workflow else None,
                limit=limit,
                cursor=cursor or None,
            )
            names = {} if as_json else await workflow_names(server)
        output.json(found)
        executions = found.get("executions") or []
        if not executions:
            output.line("There are no executions. Start one with `interlock run FILE`.")
            return DONE
        output.show(executions_table(executions, names, caller.clock.now().timestamp(), output.out.width))
        if found.get("has_more"):
            output.note(f"{found.get('total_count')} in all; go on with --cursor {found.get('next_cursor')}")
        return DONE

    carry_out_async(output, work)


async def workflow_names(server: Server) -> dict[str, str]:
    """Names by id of the workflows that were changed last; nothing for a caller who may not see workflows."""
    try:
        found = await server.get("/workflows", limit=100)
    except InterlockError as error:
        if error.kind is not ErrorKind.DENIED:
            raise
        return {}
    return {str(workflow["workflow_id"]): str(workflow["name"]) for workflow in found.get("workflows") or []}


def show(
    context: typer.Context,
    execution_id: ExecutionArgument,
    events: Annotated[int, typer.Option("--events", metavar="N", min=0, help="Last events to show; 0 shows all.")] = 20,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show graph, timeline, events, and why it rests."""
    caller, output = caller_of(context), Output(as_json=as_json)

    async def work() -> int:
        async with caller.server(url) as server:
            seen = await look(server, execution_id)
        output.json(_document(seen, events))
        output.show(*sections(seen, caller.clock.now().timestamp(), events, output.out.width))
        return DONE

    carry_out_async(output, work)


def _document(seen: Shown, count: int) -> dict[str, Any]:
    return {
        "execution": seen.execution,
        "workflow": seen.workflow or None,
        "events": [fact.raw for fact in seen.facts[-count:]],
        "approvals": seen.execution.get("pending_approvals") or [],
    }


def watch(context: typer.Context, execution_id: ExecutionArgument, url: Url = None, as_json: AsJson = False) -> None:
    """Watch an execution live until it ends.

    On a terminal it asks what the execution asks. The exit code is 0 if it succeeded.
    """
    caller, output = caller_of(context), Output(as_json=as_json)

    async def work() -> int:
        async with caller.server(url) as server:
            return code_of((await watch_to_end(caller, server, output, execution_id)).status == "SUCCESS")

    carry_out_async(output, work)


async def watch_to_end(caller: Caller, server: Server, output: Output, execution_id: str) -> Picture:
    """Watch, asking the person in front of the terminal what the execution asks; say how it ended."""
    picture = await picture_of(server, execution_id)
    asker = Asker(output.out, read_terminal_line)
    decide = asker.ask if output.can_ask() else None
    try:
        picture = await Watching(server, picture, screen_for(output, caller.clock), caller.clock, decide).run()
    except asyncio.CancelledError:  # Ctrl-C
        output.note(f"The execution goes on; see it again with `interlock watch {execution_id}`.")
        raise
    output.show(outcome_line(picture))
    return picture


def approvals(
    context: typer.Context,
    status: Annotated[
        str, typer.Option("--status", metavar="WORD", help="pending, approved, denied, expired, cancelled or all.")
    ] = "pending",
    execution: Annotated[
        str, typer.Option("--execution", metavar="ID", help="Only of this execution.", show_default=False)
    ] = "",
    limit: Limit = 50,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List what people are asked to decide."""
    caller, output = caller_of(context), Output(as_json=as_json)

    async def work() -> int:
        async with caller.server(url) as server:
            found = await server.get("/approvals", status=status, execution_id=execution or None, limit=limit)
        output.json(found)
        listed = found.get("approvals") or []
        if listed:
            output.show(*approvals_list(listed, caller.clock.now().timestamp()))
            if status == "pending":
                output.note("Answer with `interlock approve ID` or `interlock deny ID`.")
        else:
            output.line("Nobody is asked anything." if status == "pending" else "There are none.")
        return DONE

    carry_out_async(output, work)


def artifacts(
    context: typer.Context,
    execution_id: ExecutionArgument,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="DIR", help="Write the files there.", show_default=False)
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List the files an execution made, and save them."""
    caller, output = caller_of(context), Output(as_json=as_json)

    async def work() -> int:
        async with caller.server(url) as server:
            found = await server.get(f"/executions/{segment(execution_id)}/artifacts")
            listed = found.get("artifacts") or []
            saved = await save_artifacts(server, execution_id, listed, save) if save is not None else {}
        output.json({**found, "artifacts": [{**one, "saved": _path(saved, one)} for one in listed]} if saved else found)
        if not listed:
            output.line("The execution has made no files.")
        elif saved:
            for path in saved.values():
                output.line(str(path))
        else:
            output.show(artifacts_table(listed))
            whole = size(sum(int(artifact["size"]) for artifact in listed))
            output.note(f"{plural(len(listed), 'file')}, {whole}; save with --save DIR")
        return DONE

    carry_out_async(output, work)


def _path(saved: dict[str, Path], artifact: dict[str, Any]) -> str:
    return str(saved[artifact["name"]])


def health(
    context: typer.Context,
    address: Annotated[str, typer.Argument(metavar="URL", help="Server to ask.", show_default=False)] = "",
    is_ready: Annotated[bool, typer.Option("--ready", help="Ask whether it takes work, not only how it is.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Ask a server how it is.

    The exit code is 0 if it is well, or with --ready if it takes work.
    """
    caller, output = caller_of(context), Output(as_json=as_json)

    async def work() -> int:
        async with caller.open_server(address or url) as server:
            status, body = await server.probe("/ready" if is_ready else "/health")
            where = server.url
        if not ({"ready", "ok"} & body.keys()):
            message = f"What answers at {where} is no Interlock server (status {status})"
            raise failure(ErrorKind.EXTERNAL, "NOT_INTERLOCK", message, "Check the address.")
        output.json(body)
        if is_ready:
            _say_ready(output, where, body)
            return code_of(status == 200 and body.get("ready") is True)
        _say_health(output, where, body)
        return code_of(status == 200 and body.get("ok") is True)

    carry_out_async(output, work)


def _say_ready(output: Output, where: str, body: dict[str, Any]) -> None:
    if body.get("ready") is True:
        output.line(f"The server at {where} takes work.")
        return
    failing = [name for name, holds in (body.get("checks") or {}).items() if not holds]
    output.line(f"The server at {where} takes no work now: {', '.join(failing) or 'it does not say why'}.")


def _say_health(output: Output, where: str, body: dict[str, Any]) -> None:
    uptime = (body.get("metrics") or {}).get("uptime_seconds")
    names = ("service", "version", "mode", "postgres", "redis", "executor", "executor_state", "sandbox")
    rows: list[tuple[str, Any]] = [("server", where), ("health", status_text(str(body.get("health"))))]
    rows += [(name, body[name]) for name in names if body.get(name) is not None]
    if isinstance(uptime, int | float):
        rows.append(("up for", duration(uptime)))
    output.show(fields_table(rows))
