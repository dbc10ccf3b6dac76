"""Commands about the keys that seal stored secrets: list, rotate."""

from __future__ import annotations

import typer

from interlock.doors.cli.calling import caller_of, carry_out
from interlock.doors.cli.failures import DONE
from interlock.doors.cli.options import AsJson, DataDir
from interlock.doors.cli.output import Output

_NEXT = "Servers that run follow at once. Keep a copy of the file with the keys: without it the secrets cannot be read."


def list_keys(context: typer.Context, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List the ids of the keys in a data directory; the newest seals."""
    caller, output = caller_of(context), Output(as_json=as_json)

    def work() -> int:
        found = caller.programs.encryption_keys(data_dir, rotate=False)
        output.json({"keys": found, "newest": found[-1]})
        for key_id in found:
            output.line(f"{key_id}{' seals' if key_id == found[-1] else ''}")
        return DONE

    carry_out(output, work)


def rotate(context: typer.Context, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Seal with a new key from now on.

    What the older keys sealed stays readable, and is sealed anew within an hour.
    """
    caller, output = caller_of(context), Output(as_json=as_json)

    def work() -> int:
        found = caller.programs.encryption_keys(data_dir, rotate=True)
        output.json({"keys": found, "newest": found[-1]})
        output.line(found[-1])
        output.note(_NEXT)
        return DONE

    carry_out(output, work)
