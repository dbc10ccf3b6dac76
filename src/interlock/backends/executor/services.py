"""What a running attempt may use, made by the executor that runs it."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from interlock.backends.executor.circuits import CircuitEgress, Circuits
from interlock.backends.executor.results import is_away, report_progress
from interlock.core.commands import TaskReported
from interlock.core.events import ArtifactRef
from interlock.core.models.requests import Kind
from interlock.ports.blobs import Blobs
from interlock.ports.egress import Egress
from interlock.ports.executor import Report
from interlock.ports.models import ModelCalls
from interlock.ports.node import Attempt, NodeFailed
from interlock.ports.webhooks import WebhookCall, WebhookCalls

MAX_ARTIFACT = 32 * 1_048_576
"""Bytes of one artifact."""
REPORT_INTERVAL = 1.0
"""Seconds between two reports of an attempt that are passed on; those between are dropped."""
FOR_ATTEMPT: ContextVar[tuple[UUID, str] | None] = ContextVar("FOR_ATTEMPT", default=None)
"""Execution and task for which something is fetched, stored or called just now."""
_NAME = re.compile(r"\w[\w .,()+@=-]{0,127}")
_MAX_NAME = 255  # bytes, which is what file systems take


@dataclass(frozen=True, slots=True)
class Host:
    """What all attempts of an executor share. Made on the event loop."""

    egress: Egress
    blobs: Blobs
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    thread: int = field(default_factory=threading.get_ident)
    webhooks: WebhookCalls | None = None
    models: ModelCalls | None = None
    circuits: Circuits = field(default_factory=Circuits)


class Pace:
    """Lets one report through per ``interval`` seconds."""

    __slots__ = ("_interval", "_next")

    def __init__(self, interval: float = REPORT_INTERVAL) -> None:
        self._interval = interval
        self._next = 0.0

    def is_due(self) -> bool:
        """True at first, and when the last True is long enough ago."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self._interval
        return True


class AttemptServices:
    """Satisfies ``ports/node.Services`` for one attempt. Once closed, nothing it reports arrives.

    ``away`` is what the attempt met that was not there: if it fails after that, nobody can say that it had failed else.
    """

    __slots__ = ("_attempt", "_host", "_pace", "_report", "away", "is_open")

    def __init__(self, host: Host, attempt: Attempt, report: Report) -> None:
        self._host = host
        self._attempt = attempt
        self._report = report
        self._pace: Pace | None = None
        self.away: Exception | None = None
        self.is_open = True

    @property
    def egress(self) -> Egress:
        return CircuitEgress(self._host.egress, self._host.circuits, self._attempt.tenant_id)

    async def write_artifact(self, name: str, content: bytes, content_type: str) -> ArtifactRef:
        """Store a named output file. Raises NodeFailed: ARTIFACT_NAME_INVALID, ARTIFACT_TOO_LARGE."""
        check_artifact(name, len(content))
        try:
            sha256 = await self._host.blobs.put(self._attempt.tenant_id, content)
        except Exception as error:
            self.away = error if is_away(error) else self.away
            raise
        return ArtifactRef(name, len(content), sha256, content_type)

    async def webhook_call(self, node_id: str | None, seconds: float | None) -> WebhookCall:
        """What this attempt needs to call a webhook. Raises NodeFailed WEBHOOKS_UNAVAILABLE."""
        if self._host.webhooks is None:
            raise NodeFailed("WEBHOOKS_UNAVAILABLE", "This server keeps no secrets to sign webhooks with.")
        attempt = self._attempt
        return await self._host.webhooks.prepare(
            attempt.tenant_id, attempt.execution_id, attempt.task_id, attempt.attempt, node_id, seconds
        )

    async def model_call(self, kind: Kind, body: dict[str, Any]) -> dict[str, Any]:
        """Ask a model on behalf of the task. Raises NodeFailed MODELS_UNAVAILABLE, InterlockError."""
        if self._host.models is None:
            raise NodeFailed("MODELS_UNAVAILABLE", "This server serves no models.")
        attempt = self._attempt
        return await self._host.models.call(
            attempt.tenant_id, attempt.execution_id, attempt.effect_key, attempt.trace_id, kind, body
        )

    def report(self, progress: float | None = None, message: str = "", data: Any = None) -> None:
        """Pass progress on, at most once a second; may be called in any thread."""
        self._pace = self._pace or Pace()
        if not self._pace.is_due():
            return
        report = report_progress(self._attempt, progress, message, data)
        if threading.get_ident() == self._host.thread:
            self._deliver(report)
        else:
            self._host.loop.call_soon_threadsafe(self._deliver, report)

    def _deliver(self, report: TaskReported) -> None:
        if self.is_open:
            self._report(self._attempt.execution_id, report)


def check_artifact(name: str, size: int) -> None:
    """Refuse names that are not plain file names everywhere, and files over ``MAX_ARTIFACT``."""
    if not _NAME.fullmatch(name) or name[-1] in " ." or len(name.encode()) > _MAX_NAME:
        raise NodeFailed(
            "ARTIFACT_NAME_INVALID",
            f"An artifact cannot be called {name[:100]!r}; use a plain file name such as report.md: letters, digits, "
            "spaces and ._()+@=,- with no folder, not beginning with a dot or a dash",
        )
    if size > MAX_ARTIFACT:
        limit = MAX_ARTIFACT // 1_048_576
        raise NodeFailed(
            "ARTIFACT_TOO_LARGE", f"The artifact {name!r} has {size:,} bytes; at most {limit} MiB are kept"
        )
