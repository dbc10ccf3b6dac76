"""The demo's part of the conversation: the worked example over HTTP, like any client would do it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interlock.core.errors import ErrorKind, InterlockError
from interlock.doors.cli.asking import Answer, Asker, read_terminal_line
from interlock.doors.cli.failures import DONE, FAILED, exit_code, failure
from interlock.doors.cli.output import Output
from interlock.doors.cli.picture import Picture
from interlock.doors.cli.saving import save_artifacts
from interlock.doors.cli.screens import outcome_line, screen_for
from interlock.doors.cli.server import Server, segment
from interlock.doors.cli.storing import store_workflow
from interlock.doors.cli.watching import Watching, picture_of
from interlock.kit.clock import Clock, SystemClock
from interlock.kit.ids import Ids, RandomIds

EXAMPLES = "interlock_examples"
OK = "INTERLOCK_DEMO_OK"
REPORT = "report.md"


async def demonstrate(
    url: str,
    token: str,
    *,
    as_json: bool = False,
    directory: Path | None = None,
    clock: Clock | None = None,
    ids: Ids | None = None,
) -> int:
    """Store and start the example on a running server, watch it, have its question answered, save what it made.

    On a terminal a person is asked; elsewhere the demo approves with the reason ``demo``. Files go to
    ``interlock-demo/<execution_id>`` below ``directory`` (the working directory). The last line of a demo that
    succeeded is ``INTERLOCK_DEMO_OK <execution_id>``. Returns the exit code; failures are said as sentences.
    """
    output = Output(as_json=as_json)
    try:
        async with Server(url, lambda: token, ids or RandomIds()) as server:
            return await _play(server, output, clock or SystemClock(), directory or Path.cwd())
    except InterlockError as error:
        output.error(error)
        return exit_code(error)


async def _play(server: Server, output: Output, clock: Clock, directory: Path) -> int:
    source, given = load_example()
    workflow = await store_workflow(server, source)
    path = f"/workflows/{segment(str(workflow['workflow_id']))}/execute"
    execution_id = str((await server.post(path, {"inputs": given}))["execution_id"])
    output.line(f"Started execution {execution_id} of {workflow['name']} on {server.url}.")
    decide = Asker(output.out, read_terminal_line).ask if output.can_ask() else _approve
    watching = Watching(server, await picture_of(server, execution_id), screen_for(output, clock), clock, decide)
    picture = await watching.run()
    output.show(outcome_line(picture))
    if picture.status != "SUCCESS":
        return FAILED
    listed = (await server.get(f"/executions/{segment(execution_id)}/artifacts")).get("artifacts") or []
    saved = await save_artifacts(server, execution_id, listed, directory / "interlock-demo" / execution_id)
    _conclude(output, picture, saved)
    return DONE


async def _approve(approval: Mapping[str, Any]) -> Answer:
    """The answer where no person is there to be asked."""
    return Answer("approve", None, "demo")


def _conclude(output: Output, picture: Picture, saved: Mapping[str, Path]) -> None:
    report = saved.get(REPORT)
    output.json(
        {
            "demo": "ok",
            "execution_id": picture.execution_id,
            "report": str(report) if report is not None else None,
            "files": {name: str(path) for name, path in saved.items()},
            "result": picture.result,
        }
    )
    if report is not None:
        output.line(f"The report is in {report}")
    else:
        output.line("No report was made, because its publication was not approved.")
    output.line(f"{OK} {picture.execution_id}")


def load_example() -> tuple[dict[str, Any], Any]:
    """Definition and input of the worked example. Raises NOT_FOUND where its package is not installed."""
    try:
        example = importlib.import_module(EXAMPLES)
    except ModuleNotFoundError as error:
        if error.name != EXAMPLES:
            raise
        message = f"The worked example is not installed (package {EXAMPLES.replace('_', '-')})"
        step = "Install it with `make demo`, or `pip install ./examples` in a checkout."
        raise failure(ErrorKind.NOT_FOUND, "EXAMPLE_MISSING", message, step) from error
    return example.workflow_source(), example.workflow_input()
