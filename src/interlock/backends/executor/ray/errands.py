"""Attempts on their way through a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from interlock.backends.executor.logs import log_output
from interlock.backends.executor.pool.job import Job
from interlock.backends.executor.ray.messages import RAY, Node, Said, Seek
from interlock.backends.executor.services import Host
from interlock.core.worker import Capacity, Gpu, Machine
from interlock.ports.executor import Report
from interlock.ports.node import Attempt
from interlock.ports.task_log import TaskLog
from interlock.ports.workers import LOCAL_WORKER

Key = tuple[UUID, str]
"""Execution and task."""


class Errand:
    """An attempt and where it is: in the line (no ``worker``), on a worker, or sought on those of ``sought``.

    ``is_adrift`` while the driver that brought it there is gone.
    """

    __slots__ = ("is_adrift", "is_sought", "job", "key", "sought", "worker")

    def __init__(self, job: Job, *, is_sought: bool = False) -> None:
        self.job = job
        self.key: Key = (job.attempt.execution_id, job.attempt.task_id)
        self.worker = ""
        self.is_adrift = False
        self.is_sought = is_sought
        self.sought: set[str] | None = None

    @property
    def seek(self) -> Seek:
        """What has a host tell this server of it."""
        attempt = self.job.attempt
        return Seek(execution_id=attempt.execution_id, task_id=attempt.task_id, attempt=attempt.attempt)

    def wants(self, nodes: Mapping[str, Node], own: str) -> str | None:
        """The node it was placed on, by its id or address; None if that is not there, empty if any will do."""
        placement = self.job.attempt.placement
        if placement is None:
            return ""
        if placement.worker == LOCAL_WORKER:
            return own if own in nodes else ""
        return find_node(nodes, own, placement.worker, placement.address)


def job_of(host: Host, attempt: Attempt, report: Report, task_log: TaskLog | None) -> Job:
    """The attempt for whoever wants to hear of it; what it prints goes to ``task_log``, or to the server's own log."""
    write = log_output if task_log is None else task_log.write
    return Job(host, attempt, report, on_printed=lambda stream, text: write(attempt, stream, text))


def hear(errands: Mapping[Key, Errand], said: Said) -> None:
    """Hand on what an attempt printed, unless it is not ours any more."""
    errand = errands.get((said.execution_id, said.task_id))
    if errand is not None and errand.job.attempt.attempt == said.attempt:
        errand.job.on_printed(said.stream, said.text)


def find_node(nodes: Mapping[str, Node], own: str, worker: str, address: str) -> str | None:
    """The node that a worker is: of that id, or else at that address. None if there is none.

    ``own`` is the node of the server's machine, which is a worker of another name already. An id that Ray gave is that
    of one node and never of a later one at the same address.
    """
    if worker in nodes:
        return worker if worker != own else None
    if worker.startswith(RAY) or not address:
        return None
    return next((node.worker for node in nodes.values() if node.address == address and node.worker != own), None)


def only_named(execution_id: UUID, task_id: str, attempt: int) -> Attempt:
    """An attempt that is to be heard of, and not to be run: its host knows the rest."""
    return Attempt(
        execution_id=execution_id,
        tenant_id="",
        task_id=task_id,
        node_id="",
        attempt=attempt,
        node_type="",
        parameters={},
        timeout=0.0,
        trace_id="",
    )


def machine_of(node: Node) -> Machine:
    """A node as a worker. Ray does not know how much memory a device has."""
    gpus = tuple(Gpu(number=number) for number in range(node.gpus))
    capacity = Capacity(cpu=node.cpu, memory=node.memory, gpus=gpus)
    return Machine(worker_id=node.worker, address=node.address, capacity=capacity)
