"""Help that shows commands in groups, in plain text: it is read in terminals, pagers and logs alike."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from typer.core import TyperGroup


class GroupedCommands(TyperGroup):
    """A group whose help lists its commands below the name of each one's panel."""

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
