"""Asking a person: the question with the real request, and the answer as words, JSON or nothing."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from interlock.doors.cli.failures import WrongUseError
from interlock.doors.cli.inputs import read_value
from interlock.doors.cli.pretty import pretty
from interlock.doors.cli.texts import epoch, instant, one_line, shown

ReadLine = Callable[[], Awaitable[str | None]]
"""The next line a person writes, without its end; None when there will be none."""

_APPROVE, _DENY = frozenset({"a", "approve", "y", "yes"}), frozenset({"d", "deny", "n", "no", "reject"})
_JSON_FIELDS = frozenset({"number", "integer", "boolean", "checkbox", "multiselect"})
_EDIT, _SKIP = frozenset({"e", "edit"}), frozenset({"s", "skip"})


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person decided: the word the server understands, edited data, and why."""

    decision: str
    data: Any = None
    reason: str = ""

    def body(self) -> dict[str, Any]:
        """The answer as the app door takes it."""
        said: dict[str, Any] = {"decision": self.decision}
        if self.data is not None:
            said["data"] = self.data
        if self.reason:
            said["reason"] = self.reason
        return said


def question(approval: Mapping[str, Any]) -> RenderableType:
    """The question as a panel: title, description, the request as it is, who may answer and until when."""
    parts: list[RenderableType] = []
    if approval.get("description"):
        parts += [Text(shown(approval["description"])), Text("")]
    if approval.get("request") is not None:
        parts += [Text(pretty(approval["request"], "`interlock approvals --json`")), Text("")]
    parts += [Text(line, style="dim") for line in _circumstances(approval)]
    title = one_line(approval.get("title") or "A decision is needed", 80)
    return Panel(Group(*parts), title=Text(title, style="bold"), title_align="left", border_style="yellow")


def _circumstances(approval: Mapping[str, Any]) -> list[str]:
    lines = [f"approval {shown(approval.get('approval_id'))} of node {one_line(approval.get('node_id'), 40)}"]
    if approval.get("assignees"):
        lines.append("for " + ", ".join(one_line(name, 40) for name in approval["assignees"]))
    until = epoch(approval.get("expires_at"))
    if until is not None:
        lines.append(f"until {instant(until)} UTC")
    return lines


class Asker:
    """Asks on a terminal until the answer is one that can be sent."""

    def __init__(self, console: Console, read_line: ReadLine) -> None:
        self._console = console
        self._read_line = read_line

    async def ask(self, approval: Mapping[str, Any]) -> Answer | None:
        """The answer; None if the person skips the question or nobody is there."""
        self._console.print(question(approval))
        options = [one_line(option, 40) for option in approval.get("options") or []]
        words = "approve, deny, edit or skip" + (f", or one of: {', '.join(options)}" if options else "")
        while True:
            said = await self._line(f"{words}? ")
            if said is None or said.lower() in _SKIP:
                return None
            word = said.lower()
            if word in _APPROVE or word in {option.lower() for option in options}:
                return await self._approve("approve" if word in _APPROVE else said, approval)
            if word in _DENY:
                return await self._deny(approval)
            if word in _EDIT:
                return await self._edit(approval)
            self._console.print(Text(f"{one_line(said, 40)!r} is none of: {words}."))

    async def _approve(self, decision: str, approval: Mapping[str, Any]) -> Answer | None:
        data = await self._fill(approval.get("fields") or [])
        reason = await self._reason("") if approval.get("reason_required") else ""
        return Answer(decision, data, reason)

    async def _deny(self, approval: Mapping[str, Any]) -> Answer | None:
        is_required = bool(approval.get("reason_required"))
        return Answer("reject", None, await self._reason("" if is_required else " (Enter for none)"))

    async def _edit(self, approval: Mapping[str, Any]) -> Answer | None:
        self._console.print(Text("Write the data to approve instead, as JSON on one line, or @FILE."))
        while True:
            said = await self._line("data? ")
            if said is None:
                return None
            try:
                data = read_value(said, "data")
            except WrongUseError as error:
                self._console.print(Text(shown(error.message)))
                continue
            reason = await self._reason("") if approval.get("reason_required") else ""
            return Answer("approve", data, reason)

    async def _reason(self, remark: str) -> str:
        """Why; asked again while empty unless the remark says that it may be."""
        while True:
            said = await self._line(f"reason{remark}? ")
            if said or remark or said is None:
                return said or ""

    async def _fill(self, fields: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
        """The form's values by name; None if there is no form. Fields left empty are left out."""
        values: dict[str, Any] = {}
        for field in fields:
            value = await self._field(field)
            if value is not None:
                values[str(field.get("name"))] = value
        return values if fields else None

    async def _field(self, field: Mapping[str, Any]) -> Any:
        label = one_line(field.get("label") or field.get("name"), 60)
        kind = str(field.get("field_type") or "text")
        need = "required" if field.get("required") else "Enter for none"
        while True:
            said = await self._line(f"{label} ({one_line(kind, 20)}, {need})? ")
            if not said and (said is None or not field.get("required")):
                return None
            if kind not in _JSON_FIELDS:
                return said
            try:
                return read_value(said or "", label)
            except WrongUseError as error:
                self._console.print(Text(shown(error.message)))

    async def _line(self, prompt: str) -> str | None:
        self._console.print(Text(prompt, style="bold"), end="")
        said = await self._read_line()
        return None if said is None else said.strip()


async def read_terminal_line() -> str | None:
    """The next line of the terminal, awaited without a thread, so that waiting can be given up at any moment."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    descriptor = sys.stdin.fileno()
    loop.add_reader(descriptor, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(descriptor)
    # A terminal hands out one line per read, so nothing is left behind in a buffer that nobody would hear of.
    line = os.read(descriptor, 65_536)
    return line.decode(errors="replace").rstrip("\r\n") if line else None
