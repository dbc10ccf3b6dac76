"""What all operations of one HTTP server share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from interlock.core.principal import Principal
from interlock.doors.http.plumbing.admission import Admission
from interlock.doors.http.plumbing.doorstep import Doorstep
from interlock.doors.http.plumbing.limits import Limits
from interlock.doors.http.plumbing.proofs import Proofs
from interlock.doors.http.plumbing.settings import HttpSettings, HttpTelemetry
from interlock.kit.clock import Clock
from interlock.kit.ids import Ids
from interlock.services.access.stream_seats import SeatLimits, StreamSeats
from interlock.services.bundle import Services


class Drain:
    """Says to every stream that the server is going away, once."""

    def __init__(self) -> None:
        self.has_begun = False
        self._callbacks: set[Callable[[], None]] = set()

    def begin(self) -> None:
        """From now on streams end after a whole frame. May be called again."""
        self.has_begun = True
        for callback in list(self._callbacks):
            callback()

    def on_begin(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` when draining begins; what comes back forgets it again."""
        self._callbacks.add(callback)
        return lambda: self._callbacks.discard(callback)


class DoorSeats:
    """How many streams a principal and a tenant hold open, over all processes."""

    def __init__(self, settings: HttpSettings, telemetry: HttpTelemetry, seats: StreamSeats) -> None:
        self._limits = SeatLimits(settings.streams_per_principal, settings.streams_per_tenant)
        self._telemetry = telemetry
        self._seats = seats

    async def take(self, door: str, principal: Principal) -> Callable[[], None]:
        """Take a seat; what comes back gives it up, once. Raises LIMITED, and UNAVAILABLE without the database."""
        give_up = await self._seats.take(principal, self._limits)
        self._telemetry.stream_opened(door)

        def leave() -> None:
            give_up()
            self._telemetry.stream_closed(door)

        return leave


SumUp = Callable[[bytes], Awaitable[bytes]]
"""Takes the figures of this process and returns those of all that serve beside it."""


async def only_own(figures: bytes) -> bytes:
    """For a process that serves alone."""
    return figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Made by ``bootstrap`` for one server; handlers reach it through their call."""

    services: Services
    settings: HttpSettings
    telemetry: HttpTelemetry
    clock: Clock
    ids: Ids
    drain: Drain
    seats: DoorSeats
    limits: Limits
    admission: Admission = field(default_factory=Admission)
    proofs: Proofs = field(default_factory=Proofs)
    doorstep: Doorstep = field(default_factory=Doorstep)
    sum_up: SumUp = only_own
    started: float = field(default=0.0)  # the monotonic clock at start, seconds
