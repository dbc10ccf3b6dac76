"""The group of all commands: its help in plain text for terminals, pagers and logs alike, and wrong use of it."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from interlock.doors.cli.failures import WrongUseError
from interlock.doors.cli.output import Output

_RefusedUse: Any = typer.BadParameter.__mro__[2]
"""Whatever is wrong with a command line; which module has the class depends on the version of typer."""


class GroupedCommands(TyperGroup):
    """A group whose help lists its commands below the name of each one's panel."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command line; with ``--json`` wrong use is said as one JSON object, like every other failure."""
        given = list(sys.argv[1:] if args is None else args)
        is_for_programs = standalone_mode and "--json" in given
        try:
            code = super().main(
                given, prog_name, complete_var, standalone_mode and not is_for_programs, windows_expand_args, **extra
            )
        except _RefusedUse as refused:
            if not is_for_programs:
                raise
            command = refused.ctx.command_path if refused.ctx is not None else "interlock"
            Output(as_json=True).error(WrongUseError(refused.format_message(), step=f"See `{command} --help`."))
            code = refused.exit_code
        return sys.exit(code) if is_for_programs else code

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one section per panel, in the order in which the commands were added."""
        names = self.list_commands(ctx)
        room = formatter.width - max(map(len, names)) - 6
        panels: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for name in names:
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                panel = getattr(command, "rich_help_panel", None)
                panels[panel if isinstance(panel, str) else "Commands"].append((name, command.get_short_help_str(room)))
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl(rows)
