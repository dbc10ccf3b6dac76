"""The executor on a Ray cluster: which attempt is where, what waits for a node, and what a lost node means."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from uuid import UUID

from interlock.backends.executor.logs import log, log_node_error
from interlock.backends.executor.pool.messages import Erred
from interlock.backends.executor.ray.answers import Answers
from interlock.backends.executor.ray.driving import Driving
from interlock.backends.executor.ray.errands import Errand, Key, hear, job_of, machine_of, only_named
from interlock.backends.executor.ray.hosts import Hosts
from interlock.backends.executor.ray.mail import Mail
from interlock.backends.executor.ray.messages import (
    Cancel,
    Connected,
    FromDriver,
    Got,
    HostLost,
    HostPlan,
    HostReady,
    Node,
    Nodes,
    NotHere,
    Plan,
    Run,
    Said,
    Told,
    own_ray,
    read_from_host,
    write_line,
)
from interlock.backends.executor.results import Away, give_up
from interlock.backends.executor.services import Host
from interlock.core.commands import AttemptLost, TaskReported
from interlock.core.worker import Machine
from interlock.ports.blobs import Blobs
from interlock.ports.code import CodeShelf
from interlock.ports.egress import Egress
from interlock.ports.executor import Report
from interlock.ports.node import Attempt
from interlock.ports.task_log import TaskLog

MAX_WAITING = 10_000
"""Attempts that wait for a node; more are lost at once, and come again later."""
PATIENCE = 30.0
"""Seconds for a driver that broke to be back, before what it had out counts as lost."""
CALL_LINES = 1_000
"""Lines that a call to a host carries at most."""
GONE = 3.0
"""Seconds that an attempt waits for its node if that is not there."""


class RayExecutor:
    """Satisfies ``ports/executor.Executor``: runs each attempt in a child process on a node of a Ray cluster.

    ``host`` is what hosts do, and ``code`` what they may read of users' code. ``address`` is the cluster's; without one
    a Ray is started here with the first attempt, has its token in ``folder``, is on loopback only, and ends with this
    executor. ``session`` names this server, ``house`` its installation. ``on_workers`` is told when the nodes change,
    ``on_change`` when others of them take attempts than before.

    An attempt that was placed runs on the node of that id or address (the driver's is the server's own machine), and is
    lost with it; others take turns. While the cluster is away they wait; what runs there can be found for ``patience``.
    """

    name = "ray"

    def __init__(
        self,
        host: HostPlan,
        egress: Egress,
        blobs: Blobs,
        *,
        session: str,
        house: str,
        version: str,
        folder: Path,
        environment: Mapping[str, str],
        address: str = "",
        code: CodeShelf | None = None,
        task_log: TaskLog | None = None,
        call_lines: int = CALL_LINES,
        uses_socket: bool = True,
        patience: float = PATIENCE,
        on_workers: Callable[[Sequence[Machine]], None] = lambda machines: None,
    ) -> None:
        plan = Plan(
            house=house,
            version=version,
            session=session,
            address=address,
            local=None if address else own_ray(),
            host=host,
            call_lines=call_lines,
        )
        self._driving = Driving(
            plan, folder=folder, environment=environment, on_message=self._hear, on_broken=self._break
        )
        self._egress = egress
        self._blobs = blobs
        self._code = code
        self._task_log = task_log
        self._has_address = bool(address)
        self._uses_socket = uses_socket
        self._patience = patience
        self.on_workers = on_workers
        self._host: Host | None = None
        self._answers: Answers | None = None
        self._is_stopped = False
        self._is_away = False
        self._errands: dict[Key, Errand] = {}
        self._line: dict[Key, Errand] = {}
        self._hosts = Hosts()
        self.on_change: Callable[[], None] = lambda: None
        self._mail = Mail(session, self._driving.say, self._read, self._seek_again)
        self._waiting: asyncio.TimerHandle | None = None

    # What runners call -------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Must be awaited on the loop that calls the other methods. Connects if there is an address to connect to."""
        self._host = Host(self._egress, self._blobs)
        self._answers = Answers(self._host, self._code, self._mail.send)
        if self._has_address:
            self._driving.want()

    @property
    def state(self) -> str:
        """``idle`` before anything was needed, ``ready``, or ``unavailable`` with the reason if one is known."""
        if self._hosts.ready:
            return "ready"
        if not self._driving.is_wanted:
            return "idle"
        reason = self._driving.reason or self._hosts.why_not
        return f"unavailable: {reason}" if reason else "starting"

    @property
    def is_ready(self) -> bool:
        """False from when the cluster was lost, or no node of it can be used, until one can. One that starts is."""
        return not self._is_away and self._hosts.can_open

    @property
    def waiting(self) -> int:
        """How many attempts wait for a node."""
        return len(self._line)

    def submit(self, attempt: Attempt, report: Report) -> None:
        """Run an attempt as soon as a node is there. After ``stop`` nothing runs or reports."""
        self.cancel(attempt.execution_id, attempt.task_id)
        if self._is_stopped:
            return
        errand = self._take_on(attempt, report, is_sought=False)
        if len(self._line) >= MAX_WAITING:
            self._refuse(errand)
            return
        self._line[errand.key] = errand
        self._driving.want()
        self._place((errand,))

    def attach(self, execution_id: UUID, task_id: str, attempt: int, report: Report) -> bool:
        """Have an attempt that another server had started report here. False: it is lost. True: a report will come."""
        if self._is_stopped or not self._has_address:
            return False
        self.cancel(execution_id, task_id)
        errand = self._take_on(only_named(execution_id, task_id, attempt), report, is_sought=True)
        errand.sought = set(self._hosts.nodes) or None
        self._driving.want()
        for worker in self._hosts.ready:
            self._seek(errand, worker)
        if not self._hosts.nodes:
            self._wait_for_driver()
        return True

    def reaches(self, worker_id: str, address: str) -> str:
        """The node that a worker is, if it takes attempts now and is not the server's own machine; else empty."""
        return self._hosts.reaches(worker_id, address)

    def machines(self) -> tuple[str, list[Machine]]:
        """All machines of the cluster, and which of them is the server's own."""
        return self._hosts.own, [machine_of(node) for node in self._hosts.nodes.values()]

    def takes_own(self) -> bool:
        """Whether what is placed on the server's own machine runs. One that is started when it is needed would be."""
        if self._has_address:
            return self._hosts.takes_own
        return not (self._is_away or self._hosts.is_own_shut)

    def cancel(self, execution_id: UUID, task_id: str) -> None:
        """End the attempt if it waits or runs here; the child it runs in is killed with all it started."""
        errand = self._errands.pop((execution_id, task_id), None)
        if errand is not None:
            self._line.pop(errand.key, None)
            errand.job.drop()
            self._call_off(errand)

    async def stop(self, grace: float) -> None:
        """Cancel everything, and leave the cluster; a Ray that was started here ends."""
        self._is_stopped = True
        for key in list(self._errands):
            self.cancel(*key)
        self._mail.flush()
        if self._waiting is not None:
            self._waiting.cancel()
        if self._answers is not None:
            self._answers.stop()
        await self._driving.stop(grace)
        self._mail.forget_all()

    # Placing -----------------------------------------------------------------------------------------------

    def _take_on(self, attempt: Attempt, report: Report, *, is_sought: bool) -> Errand:
        if self._host is None:
            raise RuntimeError("the ray executor was not started")
        errand = Errand(job_of(self._host, attempt, report, self._task_log), is_sought=is_sought)
        self._errands[errand.key] = errand
        return errand

    def _place(self, errands: Iterable[Errand]) -> None:
        """Send those of the line on their way for which there is a node."""
        for errand in errands:
            worker = self._hosts.wanted(errand)
            if worker:
                del self._line[errand.key]
                errand.worker = worker
                self._mail.send(worker, Run(attempt=errand.job.attempt))
            elif worker is None:
                asyncio.get_running_loop().call_later(GONE, self._lose_if_gone, errand)

    def _lose_if_gone(self, errand: Errand) -> None:
        """It waited for a node that takes nothing, for so long that whoever places has heard of that, too."""
        if self._line.get(errand.key) is errand and self._hosts.wanted(errand) is None:
            self._lose(errand)

    def _refuse(self, errand: Errand) -> None:
        message = f"{MAX_WAITING:,} tasks wait for the cluster already; {self.state}"
        del self._errands[errand.key]
        errand.job.tell(give_up(errand.job.attempt, Away("EXECUTOR_UNAVAILABLE", message), has_begun=False))

    def _lose(self, errand: Errand) -> None:
        """Nobody will hear of it again."""
        if self._errands.get(errand.key) is not errand:
            return
        del self._errands[errand.key]
        self._line.pop(errand.key, None)
        attempt = errand.job.attempt
        errand.job.tell(AttemptLost(task_id=attempt.task_id, attempt=attempt.attempt))
        errand.job.drop()

    def _call_off(self, errand: Errand) -> None:
        """Have it ended wherever it may run, at once or when that can be said."""
        line = Cancel(execution_id=errand.key[0], task_id=errand.key[1])
        lines = [write_line(each) for each in (errand.seek, line)]  # a host ends only what is the asker's
        if errand.is_sought and errand.sought is None:
            self._hosts.say_anywhere_later(lines)
            return
        for worker in (errand.worker,) if errand.worker else errand.sought or ():
            if worker in self._hosts.ready:
                self._mail.send(worker, line)
            else:
                self._hosts.say_later(worker, lines if errand.is_sought else lines[1:])

    def _seek(self, errand: Errand, worker: str) -> None:
        self._mail.send(worker, errand.seek)

    # What the driver says ----------------------------------------------------------------------------------

    def _hear(self, message: FromDriver) -> None:
        match message:
            case Got(worker=worker, lines=lines):
                for line in lines:
                    self._read(worker, line)
            case Connected(worker=worker):
                self._hosts.own = worker
                self._is_away = False
                self.on_change()
            case Nodes(nodes=nodes):
                self._see(nodes)
            case HostReady(worker=worker, way=way):
                self._mail.find_way(worker, way if self._uses_socket else None, self._welcome)
            case HostLost(worker=worker, reason=reason):
                self._give_up(worker, reason)

    def _see(self, nodes: list[Node]) -> None:
        self._hosts.see(nodes)
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        for errand in list(self._errands.values()):
            if errand.is_sought and errand.sought is None:
                errand.sought = set(self._hosts.nodes)
            if errand.is_adrift and errand.worker not in self._hosts.nodes:
                self._lose(errand)
        self.on_change()
        self.on_workers([machine_of(node) for node in nodes])
        self._place(list(self._line.values()))

    def _welcome(self, worker: str) -> None:
        for line in self._hosts.welcome(worker):
            self._mail.send_line(worker, line)
        for errand in list(self._errands.values()):
            if errand.is_sought or (errand.is_adrift and errand.worker == worker):
                errand.is_adrift = False
                self._seek(errand, worker)
        self._place(list(self._line.values()))
        self.on_change()

    def _give_up(self, worker: str, reason: str) -> None:
        log.error("executor.ray_host_lost", worker=worker, reason=reason)
        self._hosts.lose(worker, reason)
        self.on_change()  # before anything is lost: it must not be placed there again
        self._mail.forget(worker)
        for errand in list(self._errands.values()):
            if errand.worker == worker:
                self._lose(errand)
            elif errand.is_sought:
                self._seek_no_more(errand, worker)
        self._place(list(self._line.values()))

    def _seek_again(self, worker: str) -> None:
        """The straight way to a host broke, and with it maybe what had just been said."""
        for errand in [errand for errand in self._errands.values() if errand.worker == worker]:
            self._seek(errand, worker)

    def _seek_no_more(self, errand: Errand, worker: str) -> None:
        if errand.sought is not None:
            errand.sought.discard(worker)
            if not errand.sought:
                self._lose(errand)

    def _break(self) -> None:
        """The driver is gone: what it had out may still run, and is sought when the next one is there."""
        self._is_away = True
        self._hosts.lose_all()
        self.on_change()
        self._mail.forget_all()
        for errand in self._errands.values():
            errand.is_adrift = bool(errand.worker)
            errand.sought = None
        if not self._is_stopped:
            self._wait_for_driver()

    def _wait_for_driver(self) -> None:
        if self._waiting is None:
            self._waiting = asyncio.get_running_loop().call_later(self._patience, self._stop_waiting)

    def _stop_waiting(self) -> None:
        """The cluster is away for long: the engine goes on without what ran there; what waits goes on to wait."""
        self._waiting = None
        self.on_workers([])
        for errand in list(self._errands.values()):
            if errand.is_adrift or errand.is_sought:
                self._call_off(errand)
                self._lose(errand)

    # What hosts say ----------------------------------------------------------------------------------------

    def _read(self, worker: str, line: bytes) -> None:
        message = read_from_host.decode(line)
        if isinstance(message, Told):
            self._take(worker, message)
        elif isinstance(message, Said):
            hear(self._errands, message)
        elif isinstance(message, NotHere):
            self._miss(worker, message)
        elif self._answers is not None:
            self._answers.answer_later(worker, message)

    def _take(self, worker: str, told: Told) -> None:
        """A report; one of an attempt that is not ours any more, or not there, is late and dropped."""
        result = told.report.result
        errand = self._errands.get((told.execution_id, result.task_id))
        if errand is None or not errand.job.is_meant(result) or errand.worker not in ("", worker):
            return
        errand.worker, errand.is_sought = worker, False
        if isinstance(result, TaskReported):
            errand.job.tell(result)
            return
        if isinstance(told.report, Erred) and told.report.trace:
            log_node_error(errand.job.attempt, told.report.trace)
        del self._errands[errand.key]
        self._line.pop(errand.key, None)
        errand.job.tell(result)
        errand.job.drop()

    def _miss(self, worker: str, message: NotHere) -> None:
        errand = self._errands.get((message.execution_id, message.task_id))
        if errand is None or errand.job.attempt.attempt != message.attempt:
            return
        if errand.is_sought:
            self._seek_no_more(errand, worker)
        elif errand.worker == worker:
            self._lose(errand)
