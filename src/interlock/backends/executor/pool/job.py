"""An attempt on its way through the pool."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

from interlock.backends.executor.logs import log_output
from interlock.backends.executor.pool.bounds import Bounds
from interlock.backends.executor.services import AttemptServices, Host
from interlock.core.events import ArtifactRef
from interlock.ports.executor import Report, Result
from interlock.ports.node import Attempt
from interlock.ports.task_log import Stream

if TYPE_CHECKING:
    from interlock.backends.executor.pool.seat import Seat


class Job:
    """An attempt and who wants to hear of it. After ``drop`` nothing is heard any more.

    Only children that are fresh, or had a job with the same ``key``, take it; those get ``again`` instead of the
    whole attempt. ``spent`` seconds of its time are over before a child gets it.
    """

    __slots__ = (
        "_report",
        "again",
        "attempt",
        "bounds",
        "has_begun",
        "key",
        "on_printed",
        "on_stored",
        "seat",
        "services",
        "spent",
    )

    def __init__(
        self,
        host: Host,
        attempt: Attempt,
        report: Report,
        key: Hashable = None,
        again: Attempt | None = None,
        on_stored: Callable[[ArtifactRef], None] | None = None,
        on_printed: Callable[[Stream, str], None] | None = None,
        spent: float = 0.0,
    ) -> None:
        self.on_stored = on_stored or (lambda _: None)
        self.on_printed = on_printed or (lambda stream, text: log_output(attempt, stream, text))
        self.attempt = attempt
        self.key = key
        self.again = again or attempt
        self.spent = spent
        self.bounds = Bounds()
        self.services = AttemptServices(host, attempt, report)
        self.seat: Seat | None = None
        self.has_begun = False
        self._report: Report | None = report

    @property
    def is_dropped(self) -> bool:
        return self._report is None

    def tell(self, result: Result) -> None:
        """Report, unless the job was dropped."""
        if self._report is not None:
            self._report(self.attempt.execution_id, result)

    def drop(self) -> None:
        """Report nothing from now on."""
        self._report = None
        self.services.is_open = False

    def is_meant(self, result: Result) -> bool:
        """Whether a result is one of this attempt."""
        return result.task_id == self.attempt.task_id and result.attempt == self.attempt.attempt
