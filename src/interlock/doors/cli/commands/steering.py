"""Commands that change an execution: signal, decide, cancel, pause, resume."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from interlock.core.approval import APPROVE_WORDS, DENY_WORDS
from interlock.core.errors import ErrorKind, InterlockError
from interlock.doors.cli.asking import Answer
from interlock.doors.cli.calling import Caller, caller_of, carry_out_async
from interlock.doors.cli.failures import DONE, WrongUseError, failure
from interlock.doors.cli.inputs import read_value
from interlock.doors.cli.options import AsJson, DecisionArgument, ExecutionArgument, Reason, Url
from interlock.doors.cli.output import Output
from interlock.doors.cli.server import Server, segment
from interlock.doors.cli.texts import one_line
from interlock.doors.cli.watching import pending_approvals


def signal(
    context: typer.Context,
    execution_id: ExecutionArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the signal.", show_default=False)],
    payload: Annotated[
        str, typer.Option("--payload", metavar="JSON|@FILE", help="What it carries.", show_default=False)
    ] = "",
    expect: Annotated[
        str,
        typer.Option("--expect", metavar="STATE", help="Send only while a flow is in this state.", show_default=False),
    ] = "",
    signal_id: Annotated[
        str,
        typer.Option("--signal-id", metavar="KEY", help="Signals with one key count once.", show_default=False),
    ] = "",
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Send a signal to an execution that waits for one."""
    caller, output = caller_of(context), Output(as_json=as_json)

    async def work() -> int:
        body: dict[str, Any] = {"name": name, "signal_id": signal_id or str(caller.ids.new())}
        if payload:
            body["payload"] = read_value(payload, "--payload")
        if expect:
            body["expected_state"] = expect
        async with caller.server(url) as server:
            answer = await server.post(f"/executions/{segment(execution_id)}/signal", body)
        output.json(answer)
        status = answer.get("status")
        output.line(f"Sent {name}." + (f" The execution is {status} now." if status else ""))
        return DONE

    carry_out_async(output, work)


def approve(
    context: typer.Context,
    decision_id: DecisionArgument,
    reason: Reason = "",
    edit: Annotated[
        str,
        typer.Option("--edit", metavar="JSON|@FILE", help="Approve with this data instead.", show_default=False),
    ] = "",
    choose: Annotated[
        str,
        typer.Option("--choose", metavar="OPTION", help="One of the options of the question.", show_default=False),
    ] = "",
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Approve what an execution asks for."""
    output = Output(as_json=as_json)
    carry_out_async(
        output, lambda: _decide(caller_of(context), output, url, decision_id, choose or "approve", reason, edit)
    )


def deny(
    context: typer.Context,
    decision_id: DecisionArgument,
    reason: Reason = "",
    edit: Annotated[
        str,
        typer.Option("--edit", metavar="JSON|@FILE", help="Data to give with the refusal.", show_default=False),
    ] = "",
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Deny what an execution asks for."""
    output = Output(as_json=as_json)
    carry_out_async(output, lambda: _decide(caller_of(context), output, url, decision_id, "reject", reason, edit))


async def _decide(
    caller: Caller, output: Output, url: str | None, wanted: str, word: str, reason: str, edit: str
) -> int:
    answer = Answer(word, read_value(edit, "--edit") if edit else None, reason)
    async with caller.server(url) as server:
        approval_id = await find_approval(server, wanted)
        decided = await server.post(f"/approvals/{segment(approval_id)}/decide", answer.body())
    output.json(decided)
    output.line(f"The approval is {decided.get('status')}; execution {decided.get('execution_id')} goes on.")
    return DONE


async def find_approval(server: Server, wanted: str) -> str:
    """The approval that an id means: the one open approval of that execution, else the approval of that id.

    Raises WrongUseError for an execution with several open approvals, CONFLICT if all of its are answered.
    """
    try:
        pending = await pending_approvals(server, wanted)
    except InterlockError as error:
        if error.kind not in (ErrorKind.NOT_FOUND, ErrorKind.RULE):
            raise
        pending = []
    if len(pending) > 1:
        listed = "; ".join(f"{found['approval_id']} ({one_line(found.get('title'), 40)})" for found in pending)
        step = "Name one of them: `interlock approve APPROVAL_ID`."
        raise WrongUseError(f"The execution has {len(pending)} open approvals: {listed}", step=step)
    if pending:
        return str(pending[0]["approval_id"])
    await _refuse_answered(server, wanted)
    return wanted


async def _refuse_answered(server: Server, wanted: str) -> None:
    """Raises CONFLICT for an execution whose questions have all had their answer; other ids are left alone."""
    try:
        told = await server.get("/approvals", status="all", execution_id=wanted)
    except InterlockError as error:
        if error.kind not in (ErrorKind.NOT_FOUND, ErrorKind.RULE):
            raise
        return
    settled = [found for found in told.get("approvals") or [] if found.get("status") != "pending"]
    if settled:
        last = max(settled, key=lambda found: str(found.get("decided_at") or ""))
        step = f"See what became of it with `interlock show {wanted}`."
        raise failure(ErrorKind.CONFLICT, "ALREADY_DECIDED", _settled(last), step)


def _settled(approval: Mapping[str, Any]) -> str:
    """What became of a question, by whom and how if that is known."""
    question = f"“{one_line(approval.get('title'), 60)}”" if approval.get("title") else "of this execution"
    status = str(approval.get("status"))
    if status not in ("approved", "denied"):
        return f"The question {question} is not open any more: it is {status}"
    by = f" by {approval['decided_by']}" if approval.get("decided_by") else ""
    word = str(approval.get("decision") or "")
    how = f" ({one_line(word, 40)})" if word and word not in APPROVE_WORDS | DENY_WORDS else ""
    reason = f": {one_line(approval['reason'], 200)}" if approval.get("reason") else ""
    return f"The question {question} was already {status}{by}{how}{reason}"


def cancel(
    context: typer.Context,
    execution_id: ExecutionArgument,
    reason: Reason = "",
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Cancel an execution with everything it started."""
    _change(context, "cancel", execution_id, reason, url, as_json)


def pause(
    context: typer.Context,
    execution_id: ExecutionArgument,
    reason: Reason = "",
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Pause an execution.

    No new node starts; what runs may finish.
    """
    _change(context, "pause", execution_id, reason, url, as_json)


def resume(
    context: typer.Context,
    execution_id: ExecutionArgument,
    reason: Reason = "",
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Let a paused execution go on."""
    _change(context, "resume", execution_id, reason, url, as_json)


def _change(context: typer.Context, verb: str, execution_id: str, reason: str, url: str | None, as_json: bool) -> None:
    caller, output = caller_of(context), Output(as_json=as_json)

    async def work() -> int:
        async with caller.server(url) as server:
            path = f"/executions/{segment(execution_id)}/{verb}"
            answer = await server.post(path, {"reason": reason} if reason else {})
        status = answer.get("status")
        if answer.get("success") is False:
            message = str(answer.get("message") or f"The execution cannot be changed: it is {status}")
            step = f"See what became of it with `interlock show {execution_id}`."
            raise failure(ErrorKind.CONFLICT, "NOT_CHANGED", message, step)
        output.json(answer)
        output.line(f"Execution {execution_id} is {status} now.")
        return DONE

    carry_out_async(output, work)
