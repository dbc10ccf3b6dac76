"""Commands about sessions of flows: start one, push events into it, see where it stands, stop it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from interlock.doors.cli.calling import caller_of, carry_out_async, code_of
from interlock.doors.cli.commands.reading import watch_to_end
from interlock.doors.cli.failures import DONE, WrongUseError
from interlock.doors.cli.inputs import read_value
from interlock.doors.cli.options import AsJson, Url
from interlock.doors.cli.output import Output
from interlock.doors.cli.pretty import pretty
from interlock.doors.cli.registry_tables import session_lines
from interlock.doors.cli.server import TEMPO, segment
from interlock.doors.cli.texts import shown

SessionArgument = Annotated[str, typer.Argument(metavar="SESSION", help="Id of a session.", show_default=False)]


def start(
    context: typer.Context,
    flow: Annotated[str, typer.Argument(metavar="FLOW", help="Id of a flow.", show_default=False)] = "",
    node: Annotated[
        str, typer.Option("--node", metavar="NODE", help="Run this single node instead.", show_default=False)
    ] = "",
    params: Annotated[
        str, typer.Option("--params", metavar="JSON|@FILE", help="What its nodes are given.", show_default=False)
    ] = "",
    inherit: Annotated[
        str,
        typer.Option("--inherit", metavar="SESSION", help="Begin with the blackboard of this one.", show_default=False),
    ] = "",
    state: Annotated[
        str, typer.Option("--from", metavar="STATE", help="Begin in this state.", show_default=False)
    ] = "",
    session_id: Annotated[
        str,
        typer.Option("--session-id", metavar="ID", help="What to call it. Default: a new id.", show_default=False),
    ] = "",
    is_watched: Annotated[bool, typer.Option("--watch", help="Watch it until it ends.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Start a session of a flow, and say where it comes to rest."""
    caller, output = caller_of(context), Output(as_json=as_json)

    async def work() -> int:
        if bool(flow) == bool(node):
            step = "See the flows with `interlock flows list`."
            raise WrongUseError("Name a flow, or a node with --node.", step=step)
        body: dict[str, Any] = {"flow_id": flow} if flow else {"node_id": node}
        body |= {"params": read_value(params, "--params")} if params else {}
        body |= {"inherit_session": inherit} if inherit else {}
        body |= {"from_step": state} if state else {}
        body |= {"session_id": session_id} if session_id else {}
        async with caller.server(url, door=TEMPO) as server:
            answer = await server.post("/workflow/start", body)
        started = str(answer["session_id"])
        if is_watched:
            for line in session_lines(started, answer):
                output.note(line)
            async with caller.server(url) as server:
                return code_of((await watch_to_end(caller, server, output, started)).status == "SUCCESS")
        output.json(answer)
        for line in session_lines(started, answer):
            output.line(line)
        output.line(f"Follow it with `interlock watch {started}`.")
        return DONE

    carry_out_async(output, work)


def event(
    context: typer.Context,
    session: SessionArgument,
    name: Annotated[str, typer.Argument(metavar="EVENT", help="Name of the event.", show_default=False)],
    payload: Annotated[
        str, typer.Option("--payload", metavar="JSON|@FILE", help="What it carries.", show_default=False)
    ] = "",
    expect: Annotated[
        str, typer.Option("--expect", metavar="STATE", help="Push it only in this state.", show_default=False)
    ] = "",
    event_id: Annotated[
        str, typer.Option("--event-id", metavar="ID", help="Events with one id count once.", show_default=False)
    ] = "",
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Push an event into a session, and say where that took it."""
    caller, output = caller_of(context), Output(as_json=as_json)

    async def work() -> int:
        body: dict[str, Any] = {"event_type": name, "event_id": event_id or str(caller.ids.new())}
        body |= {"payload": read_value(payload, "--payload")} if payload else {}
        body |= {"expected_state": expect} if expect else {}
        async with caller.server(url, door=TEMPO) as server:
            answer = await server.post(f"/workflow/{segment(session)}/event", body)
        output.json(answer)
        for line in session_lines(session, answer):
            output.line(line)
        return DONE

    carry_out_async(output, work)


def state(context: typer.Context, session: SessionArgument, url: Url = None, as_json: AsJson = False) -> None:
    """Show where a session stands, and what moves it on."""
    output = Output(as_json=as_json)

    async def work() -> int:
        async with caller_of(context).server(url, door=TEMPO) as server:
            answer = await server.get(f"/workflow/{segment(session)}/state")
        output.json(answer)
        for line in session_lines(session, answer):
            output.line(line)
        if answer.get("waiting_for"):
            output.line(f"It waits for: {answer['waiting_for']}.")
        return DONE

    carry_out_async(output, work)


def blackboard(
    context: typer.Context,
    session: SessionArgument,
    key: Annotated[str, typer.Argument(metavar="KEY", help="Only what is under this key.", show_default=False)] = "",
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show what stands on the blackboard of a session."""
    output = Output(as_json=as_json)

    async def work() -> int:
        path = f"/state/{segment(session)}" + (f"/{segment(key)}" if key else "")
        async with caller_of(context).server(url, door=TEMPO) as server:
            answer = await server.get(path)
        output.json(answer)
        if key:
            output.show(pretty(answer.get("value")))
            return DONE
        for name, value in (answer.get("state") or {}).items():
            output.show(f"{shown(name)}: {pretty(value)}")
        if not answer.get("state"):
            output.line("There is nothing on it.")
        return DONE

    carry_out_async(output, work)


def stop(context: typer.Context, session: SessionArgument, url: Url = None, as_json: AsJson = False) -> None:
    """Stop a session for good."""
    output = Output(as_json=as_json)

    async def work() -> int:
        async with caller_of(context).server(url, door=TEMPO) as server:
            answer = await server.delete(f"/workflow/{segment(session)}")
        output.json(answer)
        output.line(f"Session {session} has ended ({answer.get('session_state')}).")
        return DONE

    carry_out_async(output, work)
