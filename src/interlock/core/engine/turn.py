"""One command at work on one execution: the events it causes, in order."""

from __future__ import annotations

from collections.abc import Container
from datetime import datetime

from interlock.core.commands import ChildStart
from interlock.core.engine.evolve import evolve
from interlock.core.errors import InterlockError
from interlock.core.events import Event
from interlock.core.execution import Execution
from interlock.kit.ids import Ids


class Turn:
    """Collects events and folds each at once. ``refusal`` says why a signal changed nothing."""

    __slots__ = ("children", "events", "execution", "ids", "lost", "now", "refusal", "workflows")

    def __init__(self, execution: Execution, now: datetime, ids: Ids, workflows: Container[str] | None = None) -> None:
        self.execution = execution
        self.now = now
        self.ids = ids
        self.events: list[Event] = []
        self.children: list[ChildStart] = []
        self.workflows = workflows  # references of sub-workflows that exist; None: not looked up
        self.refusal: InterlockError | None = None
        self.lost = ""  # how an attempt was lost whose task seeks another place now; no event says so

    def emit(self, event: Event) -> None:
        """Append an event and fold it."""
        self.events.append(event)
        evolve(self.execution, event, self.now)
