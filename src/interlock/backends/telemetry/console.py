"""Figures for whoever looks at the terminal: the text that Prometheus would read, on standard error."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from threading import Thread

from prometheus_client import generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from interlock.backends.telemetry.pushing import NotSentError
from interlock.kit.clock import Clock

STDERR = 2


class ConsoleSender:
    """Satisfies ``pushing.Sender``. It writes to a file descriptor, and never waits for one that nobody reads."""

    name = "console"

    def __init__(self, instance: str, clock: Clock, *, descriptor: int = STDERR) -> None:
        self._instance = instance
        self._clock = clock
        self._descriptor = descriptor
        self._writing: Future[OSError | None] | None = None

    async def send(self, figures: Sequence[Metric]) -> None:
        """Write them as one text, headed by the process and the instant that they are of."""
        if self._writing is not None and not self._writing.done():
            raise NotSentError("nobody has read the last text yet")
        head = f"# interlock {self._instance} {self._clock.now().isoformat(timespec='seconds')}\n"
        text = head.encode() + await asyncio.to_thread(generate_latest, _Told(figures)) + b"\n"
        self._writing = Future()
        # A daemon, because the end of the process must not wait for it either.
        Thread(target=_write, args=(self._descriptor, text, self._writing), daemon=True).start()
        error = await asyncio.shield(asyncio.wrap_future(self._writing))
        if error is not None:
            raise NotSentError(error.strerror or str(error)) from error


class _Told(Collector):
    """Figures that were collected already, as a registry has them."""

    def __init__(self, figures: Sequence[Metric]) -> None:
        self._figures = figures

    def collect(self) -> Iterable[Metric]:
        return self._figures


def _write(descriptor: int, text: bytes, written: Future[OSError | None]) -> None:
    """What went wrong is a result, because by then nobody may wait for it any more."""
    try:
        while text:
            text = text[os.write(descriptor, text) :]
    except OSError as error:
        written.set_result(error)
    else:
        written.set_result(None)
