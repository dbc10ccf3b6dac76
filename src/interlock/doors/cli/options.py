"""Arguments and options that several commands share, each written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SERVER_PANEL = "Run a server"
WORKFLOW_PANEL = "Start and look"
STEERING_PANEL = "Steer and decide"
ACCESS_PANEL = "Who may come in"
PROGRAM_PANEL = "This program"

Url = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="Server to talk to. Default: INTERLOCK_URL, else http://127.0.0.1:8000."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON for programs; stdout holds nothing else.")]
ExecutionArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of an execution.", show_default=False)]
DecisionArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="Id of an approval, or of an execution with one open approval.", show_default=False
    ),
]
DefinitionFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="Definition of a workflow, YAML or JSON.", show_default=False)
]
Reason = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept with what was done.", show_default=False)
]
DataDir = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Directory of database, keys and blobs.", show_default=False),
]
TenantOption = Annotated[
    str, typer.Option("--tenant", metavar="NAME", help="Tenant that is meant, where INTERLOCK_TOKEN is not set.")
]


def examples(*lines: str) -> str:
    """The end of a command's help: examples, one a line."""
    return "\n".join(("\b", "Examples:", *(f"  interlock {line}" for line in lines)))
