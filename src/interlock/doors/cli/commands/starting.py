"""Commands about definitions: run one, check one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import RenderableType

from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.workflow import Problem
from interlock.doors.cli.calling import Caller, caller_of, carry_out_async, code_of
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


OnServer = Annotated[
    bool, typer.Option("--server", help="Let the running server check it, with the node types it has.")
]


class Found(msgspec.Struct, frozen=True):
    """What is to be said of a definition."""

    errors: list[Problem]
    warnings: list[Problem]

    def shown(self) -> list[RenderableType]:
        """Every problem, for people; nothing if there is none."""
        count = len(self.errors)
        return problems_list([*self.errors, *self.warnings], frozenset(range(count, count + len(self.warnings))))


def run(
    context: typer.Context,
    file: DefinitionFile,
    given: Annotated[
        str, typer.Option("--input", metavar="JSON|@FILE", help="What it is started with.", show_default=False)
    ] = "",
    is_watched: Annotated[bool, typer.Option("--watch", help="Watch it until it ends.")] = False,
    on_server: OnServer = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Store a definition and start an execution of it.

    One name is one workflow: a changed file is its next version. What `interlock validate` refuses is not started.
    """
    caller, output = caller_of(context), Output(as_json=as_json)

    async def work() -> int:
        inputs = read_value(given, "--input") if given else {}
        source, found = await _examine(caller, file, url, on_server=on_server)
        if source is None or found.errors:
            raise _refusal(output, file, found)
        output.beside(*found.shown())
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
    on_server: OnServer = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Check a definition and show all that is wrong.

    It needs no server; with --server the running one checks, with the node types it has.
    """
    caller, output = caller_of(context), Output(as_json=as_json)

    async def work() -> int:
        _, found = await _examine(caller, file, url, on_server=on_server)
        return _say(output, file, found)

    carry_out_async(output, work)


async def _examine(
    caller: Caller, file: Path, url: str | None, *, on_server: bool
) -> tuple[dict[str, Any] | None, Found]:
    """The definition in a file and all that is to be said of it; without errors it may be stored."""
    source, unreadable = read_definition(file)
    if source is None:
        return None, Found(unreadable, [])
    if on_server:
        async with caller.server(url) as server:
            answer = await server.post("/workflows/validate", source)
        return source, msgspec.convert({name: answer[name] for name in Found.__struct_fields__}, Found)
    problems = caller.programs.check_file(source)
    is_warning = definition.is_warning
    return source, Found(
        [problem for problem in problems if not is_warning(problem)],
        [problem for problem in problems if is_warning(problem)],
    )


def _refusal(output: Output, file: Path, found: Found) -> InterlockError:
    """Why nothing is run: people are shown what ``validate`` shows, programs find it in the error."""
    message = f"{file} is not valid: {plural(len(found.errors), 'error')}; nothing was started"
    if output.as_json:
        return InterlockError(ErrorKind.RULE, "WORKFLOW_INVALID", message, details=msgspec.to_builtins(found))
    output.beside(*found.shown())
    return InterlockError(ErrorKind.RULE, "WORKFLOW_INVALID", message)


def _say(output: Output, file: Path, found: Found) -> int:
    output.json({"valid": not found.errors, **msgspec.to_builtins(found)})
    output.show(*found.shown())
    if found.errors:
        output.line(f"{file} is not valid: {plural(len(found.errors), 'error')}.")
        return FAILED
    output.line(f"{file} is valid" + (f", with {plural(len(found.warnings), 'warning')}." if found.warnings else "."))
    return DONE
