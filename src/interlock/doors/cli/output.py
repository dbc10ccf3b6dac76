"""Where a command writes: things for people or JSON for programs on stdout, notes and errors on stderr."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from rich.console import Console, RenderableType
from rich.text import Text

from interlock.core.errors import InterlockError
from interlock.doors.cli.failures import DONE, as_document
from interlock.doors.cli.remedies import next_step
from interlock.doors.cli.texts import shown
from interlock.kit import strict_json

PIPE_WIDTH = 120
"""Columns of a table that no terminal shows."""


class PlainConsole(Console):
    """A console that leaves a broken pipe to whoever called it."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(errno.EPIPE, "nobody reads the output any more")


def console(stream: TextIO) -> Console:
    """A console without markup, emoji or guesses about what texts mean: what it prints is data."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")  # a terminal that cannot show a sign shows a question mark
    width = None if stream.isatty() else PIPE_WIDTH
    return PlainConsole(file=stream, width=width, markup=False, emoji=False, highlight=False)


class Output:
    """One command's way out. With ``as_json`` stdout holds nothing but the JSON that was asked for."""

    def __init__(self, *, as_json: bool = False, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self.as_json = as_json
        self.out = console(out or sys.stdout)
        self.err = console(err or sys.stderr)

    @property
    def is_live(self) -> bool:
        """Whether a person watches, so that the screen may be drawn again and again."""
        return self.out.is_terminal and not self.as_json

    def can_ask(self) -> bool:
        """Whether a person can be asked something."""
        return self.is_live and sys.stdin is not None and sys.stdin.isatty()

    def show(self, *parts: RenderableType) -> None:
        """Print parts for people, one below the other; nothing in JSON mode.

        Strings, and texts that are not to be wrapped, are left to the terminal's own line breaks.
        """
        if not self.as_json:
            _print(self.out, parts)

    def line(self, text: str, style: str = "") -> None:
        """Print one line for people, however long; nothing in JSON mode."""
        if not self.as_json:
            self.out.print(Text(shown(text), style=style), soft_wrap=True)

    def json(self, value: Any) -> None:
        """Print one JSON document on one line; nothing in the form for people."""
        if self.as_json:
            self.out.file.write(strict_json.encode(value).decode() + "\n")
            self.out.file.flush()

    def note(self, text: str) -> None:
        """Say something about the command itself, beside its result."""
        self.err.print(Text(shown(text), style="dim"), soft_wrap=True)

    def beside(self, *parts: RenderableType) -> None:
        """Print parts for people on stderr, in JSON mode too."""
        _print(self.err, parts)

    def abandon(self) -> int:
        """Nobody reads any more (``interlock list | head``): say nothing and let the interpreter end in peace."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE

    def error(self, error: InterlockError) -> None:
        """Say what went wrong and what to do, as sentences or as one JSON object."""
        if self.as_json:
            self.err.file.write(strict_json.encode(as_document(error)).decode() + "\n")
            self.err.file.flush()
            return
        self.err.print(Text.assemble(("Error: ", "bold red"), sentence(error.message)), soft_wrap=True)
        lines = map(_problem_line, error.details.get("errors") or [])
        for line in (line for line in lines if line != shown(error.message)):
            self.err.print(Text(f"  {line}"), soft_wrap=True)
        step = next_step(error)
        if step:
            self.err.print(Text.assemble(("Next:  ", "bold"), shown(step)), soft_wrap=True)
        if error.details.get("trace_id") and error.details.get("status", 0) >= 500:
            self.err.print(Text(f"Trace: {shown(error.details['trace_id'])}"), soft_wrap=True)


def _print(stream: Console, parts: Sequence[RenderableType]) -> None:
    for part in parts:
        is_whole = isinstance(part, str) or (isinstance(part, Text) and bool(part.no_wrap))
        stream.print(part, soft_wrap=is_whole)


def sentence(text: str) -> str:
    """``text`` with a capital at its beginning and a full stop at its end."""
    text = shown(text).strip()
    if text.partition(" ")[0].isalpha():
        text = text[0].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _problem_line(problem: Any) -> str:
    if not isinstance(problem, dict):
        return shown(problem)
    place = problem.get("path") or problem.get("field") or ""
    hint = f" ({problem['hint']})" if problem.get("hint") else ""
    return shown(f"{place}: {problem.get('message') or problem.get('reason') or problem.get('code')}{hint}")
