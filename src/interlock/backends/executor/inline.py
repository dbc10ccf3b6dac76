"""Runs nodes on the event loop: plain ones at once, async ones as tasks. For code that is quick or only waits."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Collection
from uuid import UUID

import msgspec

from interlock.backends.executor.logs import log, log_node_error
from interlock.backends.executor.results import (
    conclude,
    fail,
    find_node,
    give_up,
    settle,
    time_out,
    trace_back,
)
from interlock.backends.executor.services import AttemptServices, Host
from interlock.ports.blobs import Blobs
from interlock.ports.egress import Egress
from interlock.ports.executor import Report, Result
from interlock.ports.models import ModelCalls
from interlock.ports.node import Attempt, Outcome, Registry
from interlock.ports.webhooks import WebhookCalls

STALL = 0.05
"""Seconds a plain node may keep the event loop before that is worth a warning."""

Stalled = Callable[[float, str], None]
"""Told the seconds and the node type of a stall."""

_Key = tuple[UUID, str]


class InlineExecutor:
    """Satisfies ``ports/executor.Executor``.

    ``trusted`` names the node types that are known to answer with JSON and to leave their attempt as it is; every
    other one gets a copy of the attempt, and its answer is checked and copied. ``on_stall`` is told of plain nodes
    that held up the loop.
    """

    name = "inline"

    def __init__(
        self,
        registry: Registry,
        egress: Egress,
        blobs: Blobs,
        *,
        trusted: Collection[str] = frozenset(),
        on_stall: Stalled = lambda seconds, node_type: None,
        webhooks: WebhookCalls | None = None,
        models: ModelCalls | None = None,
    ) -> None:
        self._registry = registry
        self._egress = egress
        self._blobs = blobs
        self._trusted = frozenset(trusted)
        self._on_stall = on_stall
        self._webhooks = webhooks
        self._models = models
        self._host: Host | None = None
        self._is_stopped = False
        self._running: dict[_Key, _Running] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Must be awaited on the loop that calls the other methods."""
        self._host = Host(self._egress, self._blobs, webhooks=self._webhooks, models=self._models)

    @property
    def running(self) -> int:
        """How many async attempts are under way."""
        return len(self._running)

    def submit(self, attempt: Attempt, report: Report) -> None:
        """Run an attempt; a plain node has reported when this returns. After ``stop`` nothing runs or reports."""
        self.cancel(attempt.execution_id, attempt.task_id)
        if self._is_stopped:
            return
        if self._host is None:
            raise RuntimeError("the inline executor was not started")
        services = AttemptServices(self._host, attempt, report)
        started = time.perf_counter()
        result: Result
        try:
            outcome = self._call(attempt, services)
            if not isinstance(outcome, msgspec.Struct) and inspect.isawaitable(outcome):
                self._follow(attempt, report, services, outcome, started)
                return
            result = self._conclude(attempt, outcome, started)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a node may raise anything; it is reported
            result = _explain(attempt, services, error)
        services.is_open = False
        report(attempt.execution_id, result)

    def cancel(self, execution_id: UUID, task_id: str) -> None:
        """End the attempt if it runs here."""
        running = self._running.pop((execution_id, task_id), None)
        if running is not None:
            running.end()

    async def stop(self, grace: float) -> None:
        """Cancel everything."""
        self._is_stopped = True
        for key in list(self._running):
            self.cancel(*key)
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=grace)
            for task in left:
                log.error("executor.attempt_will_not_end", attempt=task.get_name())

    def _call(self, attempt: Attempt, services: AttemptServices) -> Outcome | Awaitable[Outcome]:
        node = find_node(self._registry, attempt.node_type)
        given = attempt if attempt.node_type in self._trusted else _copy(attempt)
        started = time.perf_counter()
        try:
            return node.run(given, services)
        finally:
            seconds = time.perf_counter() - started
            if seconds > STALL:
                log.warning("executor.loop_stalled", node_type=attempt.node_type, milliseconds=int(seconds * 1000))
                self._on_stall(seconds, attempt.node_type)

    def _conclude(self, attempt: Attempt, outcome: Outcome, started: float) -> Result:
        is_trusted = attempt.node_type in self._trusted
        return conclude(attempt, outcome if is_trusted else settle(outcome), time.perf_counter() - started)

    def _follow(
        self, attempt: Attempt, report: Report, services: AttemptServices, outcome: Awaitable[Outcome], started: float
    ) -> None:
        """Go on with an async node as a task."""

        def end(result: Result) -> None:
            self.cancel(attempt.execution_id, attempt.task_id)
            report(attempt.execution_id, result)

        async def run() -> None:
            try:
                result = self._conclude(attempt, await outcome, started)
            except (Exception, SystemExit, asyncio.CancelledError) as error:  # noqa: BLE001 - as above
                if not services.is_open:
                    return  # ended from here, and answered for
                result = _explain(attempt, services, error)
            if services.is_open:
                end(result)

        loop = asyncio.get_running_loop()
        task = loop.create_task(run(), name=f"{attempt.node_type} {attempt.execution_id} {attempt.task_id}")
        timer = loop.call_later(attempt.timeout, lambda: end(time_out(attempt)))
        self._running[attempt.execution_id, attempt.task_id] = _Running(task, services, timer)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if inspect.iscoroutine(outcome):  # one that was cancelled before its first step would complain
            task.add_done_callback(lambda _: outcome.close())


class _Running:
    """An async attempt under way."""

    __slots__ = ("_services", "_task", "_timer")

    def __init__(self, task: asyncio.Task[None], services: AttemptServices, timer: asyncio.TimerHandle) -> None:
        self._task = task
        self._services = services
        self._timer = timer

    def end(self) -> None:
        """Nothing more is heard of it."""
        self._services.is_open = False
        self._timer.cancel()
        if self._task is not asyncio.current_task():
            self._task.cancel()


def _copy(attempt: Attempt) -> Attempt:
    return msgspec.json.decode(msgspec.json.encode(attempt, enc_hook=dict), type=Attempt)


def _explain(attempt: Attempt, services: AttemptServices, error: BaseException) -> Result:
    if services.away is not None:
        return give_up(attempt, services.away, has_begun=True)
    trace = trace_back(error)
    if trace:
        log_node_error(attempt, trace)
    return fail(attempt, error)
