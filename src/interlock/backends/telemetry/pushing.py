"""Figures that are sent instead of asked for: every minute, and once more at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import structlog
from prometheus_client.core import Metric
from prometheus_client.samples import Sample

EVERY_SECONDS = 60.0
"""Between two rounds."""
ROUND_SECONDS = 10.0
"""How long one may take."""

log = structlog.get_logger("metrics")


class NotTaken(NamedTuple):
    """So many points were not taken, for this reason."""

    points: int
    reason: str


class NotSentError(Exception):
    """None were taken; its text says why."""


class Sender(Protocol):
    """Takes the figures somewhere."""

    @property
    def name(self) -> str:
        """The exporter as the settings call it."""
        ...

    async def send(self, figures: Sequence[Metric]) -> NotTaken | None:
        """Hand them over; who waits no longer cancels it. What was not taken, if anything was.

        Raises NotSentError if nothing was taken.
        """
        ...


class Pushing:
    """Sends what ``collect`` tells by one sender, in a task of its own that nobody waits for.

    Figures count from the start of the process, so what a round has lost the next one says again. ``on_lost`` is told
    the exporter and how many points were lost. The first round is after ``first`` seconds.
    """

    def __init__(
        self,
        sender: Sender,
        collect: Callable[[], Sequence[Metric]],
        on_lost: Callable[[str, int], None],
        *,
        first: float = 0.0,
        every: float = EVERY_SECONDS,
    ) -> None:
        self._sender = sender
        self._collect = collect
        self._on_lost = on_lost
        self._first = first
        self._every = every
        self._trouble = ""
        self._lost = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name=f"metrics to {self._sender.name}")

    async def stop(self, seconds: float) -> None:
        """Break off the round that runs, and send all once more, within ``seconds``. Never raises."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._round(seconds)

    async def _run(self) -> None:
        await asyncio.sleep(self._first)
        while True:
            await self._round(ROUND_SECONDS)
            await asyncio.sleep(self._every)

    async def _round(self, seconds: float) -> None:
        figures: Sequence[Metric] = ()
        try:
            figures = self._collect()
            async with asyncio.timeout(seconds):
                missing = await self._sender.send(figures)
        except TimeoutError:
            missing = NotTaken(points_of(figures), f"no answer within {seconds:g} s")
        except NotSentError as error:
            missing = NotTaken(points_of(figures), str(error))
        except Exception as error:  # one round's error must not end the rounds
            log.exception("metrics.failed", exporter=self._sender.name)
            missing = NotTaken(points_of(figures), type(error).__name__)
        self._note(missing)

    def _note(self, missing: NotTaken | None) -> None:
        """Count what was lost, and say it once for each new reason and once when it is over."""
        if missing is None:
            if self._trouble:
                log.info("metrics.sent_again", exporter=self._sender.name, lost=self._lost)
            self._trouble = ""
            return
        self._lost += missing.points
        self._on_lost(self._sender.name, missing.points)
        if missing.reason != self._trouble:
            log.warning("metrics.not_sent", exporter=self._sender.name, reason=missing.reason, points=missing.points)
        self._trouble = missing.reason


def points_of(figures: Sequence[Metric]) -> int:
    """How many series there are: numbers, and distributions with all their bounds as one."""
    return sum(1 for family in figures for sample in family.samples if is_point(family, sample))


def is_point(family: Metric, sample: Sample) -> bool:
    """Whether a sample stands for a series; beside it there may be bounds, a sum, and the instant it was made."""
    suffix = _SUFFIXES.get(family.type, "")
    return sample.name == family.name + suffix


_SUFFIXES = {"counter": "_total", "histogram": "_count"}
