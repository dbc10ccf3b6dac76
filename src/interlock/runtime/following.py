"""Machines that an executor has and nobody announced: written down as workers, each of them once.

Every server leaves out the machine that it runs on itself, which is ``local-1`` there, and says so to the others by a
record without any capacity; once such a server is gone its machine is a worker like any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import structlog

from interlock.core.worker import Machine
from interlock.ports.workers import NOBODY, NOTHING, Machines, Reaches, WorkerBooks, WorkerRecord

log = structlog.get_logger("workforce")


class Following:
    """Keeps the records of what ``machines`` tells."""

    def __init__(self, books: WorkerBooks, machines: Machines) -> None:
        self._books = books
        self._machines = machines

    async def look(self, found: Mapping[str, WorkerRecord]) -> list[str]:
        """Write down who is new; the ids of those of whose life only this server can tell."""
        own_id, machines = self._machines()
        own = next((machine for machine in machines if machine.worker_id == own_id), None)
        if own is None:  # not known yet: any of them may be it
            return []
        for machine in machines:
            if machine is not own and not any(is_kept(record, machine) for record in found.values()):
                await self._books.follow_worker(machine.worker_id, machine.address, machine.capacity)
                log.info("workforce.followed", worker=machine.worker_id, address=machine.address)
        record = found.get(own.worker_id)
        if record is None or (record.tenant_id == NOBODY and record.capacity != NOTHING):
            await self._books.follow_worker(own.worker_id, own.address, NOTHING)
        return [own.worker_id]


def is_kept(record: WorkerRecord, machine: Machine) -> bool:
    """Whether a record speaks for a machine, so that it needs no other one."""
    if record.worker_id == machine.worker_id:
        return not (record.is_own and record.is_lost)
    return record.tenant_id != NOBODY and record.address == machine.address and not record.is_lost


def claims(records: Iterable[WorkerRecord], reaches: Reaches) -> dict[str, WorkerRecord]:
    """The records that an executor reaches, by id, each machine once.

    Who is named like the machine goes before who is at its address, and who was announced before who was not.
    """
    taken: set[str] = set()
    claimed: dict[str, WorkerRecord] = {}
    reached = [(reaches(record.worker_id, record.address), record) for record in records]
    for machine, record in sorted(reached, key=_by_right):
        if machine and machine not in taken:
            taken.add(machine)
            claimed[record.worker_id] = record
    return claimed


def _by_right(pair: tuple[str, WorkerRecord]) -> tuple[bool, bool, str]:
    machine, record = pair
    return record.tenant_id == NOBODY, machine != record.worker_id, record.worker_id


def no_machines() -> tuple[str, Sequence[Machine]]:
    """Of an executor that tells of none."""
    return "", ()
