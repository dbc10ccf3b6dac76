"""Commands about definitions: run one, check one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from interlock.core.workflow import Problem
from interlock.doors.cli.calling import Caller, caller_of, carry_out, carry_out_async, code_of
from interlock.doors.cli.commands.reading import watch_to_end
from interlock.doors.cli.failures import DONE, FAILED
from interlock.doors.cli.inputs import read_definition, read_value
from interlock.doors.cli.late import late
from interlock.doors.cli.options import AsJson, DefinitionFile, Url
from interlock.doors.cli.output import Output
from interlock.doors.cli.server import segment
from interlock.doors.cli.storing import store_workflow
from interlock.doors.cli.tables import problems_list
from interlock.doors.cli.texts import plural

if TYPE_CHECKING:
    from interlock.core import definition
else:
    definition = late("interlock.core.definition")


def run(
    context: typer.Context,
    file: DefinitionFile,
    given: Annotated[
        str, typer.Option("--input", metavar="JSON|@FILE", help="What it is started with.", show_default=False)
    ] = "",
    is_watched: Annotated[bool, typer.Option("--watch", help="Watch it until it ends.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Store a definition and start an execution of it.

    One name is one workflow: a changed file is its next version.
    """
    caller, output = caller_of(context), Output(as_json=as_json)

    async def work() -> int:
        inputs = read_value(given, "--input") if given else {}
        source, problems = read_definition(file)
        if source is None:
            return _refuse(output, file, problems)
        async with caller.server(url) as server:
            workflow = await store_workflow(server, source)
            path = f"/workflows/{segment(str(workflow['workflow_id']))}/execute"
            started = await server.post(path, {"inputs": inputs})
            execution_id = str(started["execution_id"])
            if is_watched:
                return code_of((await watch_to_end(caller, server, output, execution_id)).status == "SUCCESS")
        output.json({**started, "workflow_version": workflow.get("version")})
        output.line(f"Started execution {execution_id} of {workflow['name']}, version {workflow['version']}.")
        output.line(f"Follow it with `interlock watch {execution_id}`; see it with `interlock show {execution_id}`.")
        return DONE

    carry_out_async(output, work)


def validate(
    context: typer.Context,
    file: DefinitionFile,
    on_server: Annotated[
        bool, typer.Option("--server", help="Let the running server check it, with the node types it has.")
    ] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Check a definition and show all that is wrong.

    It needs no server; with --server the running one checks, with the node types it has.
    """
    caller, output = caller_of(context), Output(as_json=as_json)
    if on_server:
        carry_out_async(output, lambda: _validate_there(caller, output, file, url))
    else:
        carry_out(output, lambda: _validate_here(caller, output, file))


def _validate_here(caller: Caller, output: Output, file: Path) -> int:
    source, problems = read_definition(file)
    if source is not None:
        problems = caller.programs.check_file(source)
    return _verdict(output, file, problems)


async def _validate_there(caller: Caller, output: Output, file: Path, url: str | None) -> int:
    source, problems = read_definition(file)
    if source is not None:
        async with caller.server(url) as server:
            answer = await server.post("/workflows/validate", source)
        problems = msgspec.convert([*answer["errors"], *answer["warnings"]], list[Problem])
    return _verdict(output, file, problems)


def _verdict(output: Output, file: Path, problems: Sequence[Problem]) -> int:
    if any(not definition.is_warning(problem) for problem in problems):
        return _refuse(output, file, problems)
    output.json(_document(problems, is_valid=True))
    if problems:
        output.show(*problems_list(problems, frozenset(range(len(problems)))))
    output.line(f"{file} is valid" + (f", with {plural(len(problems), 'warning')}." if problems else "."))
    return DONE


def _refuse(output: Output, file: Path, problems: Sequence[Problem]) -> int:
    warnings = frozenset(index for index, problem in enumerate(problems) if definition.is_warning(problem))
    output.json(_document(problems, is_valid=False))
    output.show(*problems_list(problems, warnings))
    output.line(f"{file} is not valid: {plural(len(problems) - len(warnings), 'error')}.")
    return FAILED


def _document(problems: Sequence[Problem], *, is_valid: bool) -> dict[str, Any]:
    return {
        "valid": is_valid,
        "errors": [msgspec.to_builtins(problem) for problem in problems if not definition.is_warning(problem)],
        "warnings": [msgspec.to_builtins(problem) for problem in problems if definition.is_warning(problem)],
    }
