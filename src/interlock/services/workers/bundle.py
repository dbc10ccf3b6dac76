"""All use cases about workers of one server, put together."""

from __future__ import annotations

from dataclasses import dataclass

from interlock.kit.clock import Clock
from interlock.ports.workers import Places, Reaches, WorkerBooks
from interlock.services.workers.connect import ConnectWorkers
from interlock.services.workers.disconnect import DisconnectWorkers
from interlock.services.workers.list import ListWorkers
from interlock.services.workers.view import ViewWorkers


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """What can be asked about workers."""

    connect: ConnectWorkers
    disconnect: DisconnectWorkers
    list: ListWorkers


def build_workers(books: WorkerBooks, places: Places, clock: Clock, reaches: Reaches | None = None) -> Workers:
    """The use cases over these parts. ``reaches`` is what the executor says; None: it runs tasks only here."""
    view = ViewWorkers(places, reaches)
    return Workers(
        connect=ConnectWorkers(books, view, clock),
        disconnect=DisconnectWorkers(books, view),
        list=ListWorkers(books, view, clock),
    )
