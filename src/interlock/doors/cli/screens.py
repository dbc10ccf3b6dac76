"""Where a watched execution is shown: drawn again and again on a terminal, line by line elsewhere, or as JSON lines."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from rich.live import Live
from rich.text import Text

from interlock.doors.cli.facts import Fact
from interlock.doors.cli.live import live_view
from interlock.doors.cli.output import Output
from interlock.doors.cli.picture import Picture
from interlock.doors.cli.sentences import sentence_of
from interlock.doors.cli.texts import shown, time_of_day
from interlock.kit.clock import Clock

RECENT = 8
"""Lines that the live view repeats below its table."""


class Screen(Protocol):
    """Shows one execution. Between ``rest`` and ``resume`` the terminal belongs to somebody else."""

    def fact(self, fact: Fact, picture: Picture) -> None:
        """A fact came; ``picture`` has it folded in."""
        ...

    def note(self, text: str) -> None:
        """Say something about the connection."""
        ...

    def tick(self, picture: Picture) -> None:
        """Time went by."""
        ...

    def rest(self) -> None: ...

    def resume(self) -> None: ...

    def close(self, picture: Picture) -> None:
        """Show the last picture for good."""
        ...


def screen_for(output: Output, clock: Clock) -> Screen:
    """The screen that suits where the output goes."""
    if output.as_json:
        return JsonScreen(output)
    return LiveScreen(output, clock) if output.is_live else LineScreen(output)


class LiveScreen:
    """A terminal: the table stays in place and changes."""

    def __init__(self, output: Output, clock: Clock) -> None:
        self._clock = clock
        self._recent: deque[str] = deque(maxlen=RECENT)
        self._live = Live(console=output.out, auto_refresh=False, transient=False, vertical_overflow="crop")
        self._is_open = False

    def fact(self, fact: Fact, picture: Picture) -> None:
        said = sentence_of(fact, picture)
        if said is not None:
            self._recent.append(f"{time_of_day(fact.at)}  {said}")

    def note(self, text: str) -> None:
        if self._is_open:
            self._recent.append(text)
        else:
            self._live.console.print(Text(shown(text), style="dim"))

    def tick(self, picture: Picture) -> None:
        if not self._is_open:
            self.resume()
        now, screen = self._clock.now().timestamp(), self._live.console
        self._live.update(live_view(picture, now, self._recent, screen.height, screen.width), refresh=True)

    def rest(self) -> None:
        if self._is_open:
            self._live.stop()
            self._is_open = False

    def resume(self) -> None:
        if not self._is_open:
            self._live.start()
            self._is_open = True

    def close(self, picture: Picture) -> None:
        self.tick(picture)
        self.rest()


class LineScreen:
    """A pipe, a file, a log: one plain line per fact that is worth one."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def fact(self, fact: Fact, picture: Picture) -> None:
        said = sentence_of(fact, picture)
        if said is not None:
            self._output.line(f"{time_of_day(fact.at)}  {said}")
            self._output.out.file.flush()

    def note(self, text: str) -> None:
        self._output.note(text)

    def tick(self, picture: Picture) -> None:
        """A line that was written does not change."""

    def rest(self) -> None:
        """Lines stand beside a question."""

    def resume(self) -> None:
        """Lines stand beside a question."""

    def close(self, picture: Picture) -> None:
        """The last fact was the last line."""


class JsonScreen:
    """A program: each frame of the stream as it came, with its number, one a line."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def fact(self, fact: Fact, picture: Picture) -> None:
        self._output.json(fact.raw)

    def note(self, text: str) -> None:
        self._output.note(text)

    def tick(self, picture: Picture) -> None:
        """Programs read facts, not time."""

    def rest(self) -> None:
        """Programs are not asked."""

    def resume(self) -> None:
        """Programs are not asked."""

    def close(self, picture: Picture) -> None:
        """The last frame was the last line."""


def outcome_line(picture: Picture) -> Text:
    """How it ended, in one sentence."""
    sentences = {
        "SUCCESS": ("Succeeded", "bold green"),
        "ERROR": ("Failed", "bold red"),
        "TIMEOUT": ("Ran out of time", "bold red"),
        "CANCELED": ("Cancelled", "bold"),
    }
    word, style = sentences.get(picture.status, (f"Left while {picture.status}", "bold"))
    return Text.assemble((word, style), f": {picture.error}" if picture.error else ".")
