"""What all operations of one HTTP server share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.principal import Principal
from interlock.doors.http.plumbing.admission import Admission
from interlock.doors.http.plumbing.doorstep import Doorstep
from interlock.doors.http.plumbing.limits import Limits
from interlock.doors.http.plumbing.proofs import Proofs
from interlock.doors.http.plumbing.settings import HttpSettings, HttpTelemetry
from interlock.kit.clock import Clock
from interlock.kit.ids import Ids
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


class StreamSeats:
    """How many streams a principal and a tenant hold open."""

    def __init__(self, settings: HttpSettings, telemetry: HttpTelemetry) -> None:
        self._limits = (settings.streams_per_principal, settings.streams_per_tenant)
        self._telemetry = telemetry
        self._taken: Counter[tuple[str, str | None]] = Counter()

    def take(self, door: str, principal: Principal) -> Callable[[], None]:
        """Take a seat; what comes back gives it up. Raises LIMITED."""
        keys = ((principal.tenant_id, principal.subject), (principal.tenant_id, None))
        for key, limit, whose in zip(keys, self._limits, ("You have", "Your tenant has"), strict=True):
            if self._taken[key] >= limit:
                message = f"{whose} {limit} open streams; close one first"
                raise InterlockError(
                    ErrorKind.LIMITED,
                    "RATE_LIMIT_EXCEEDED",
                    message,
                    details={"limit": limit},
                    retryable=True,
                    retry_after=5,
                )
        self._taken.update(keys)
        self._telemetry.stream_opened(door)

        def leave() -> None:
            for key in keys:
                self._taken[key] -= 1
                if self._taken[key] <= 0:
                    del self._taken[key]
            self._telemetry.stream_closed(door)

        return leave


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Made by ``bootstrap`` for one server; handlers reach it through their call."""

    services: Services
    settings: HttpSettings
    telemetry: HttpTelemetry
    clock: Clock
    ids: Ids
    drain: Drain
    seats: StreamSeats
    limits: Limits
    admission: Admission = field(default_factory=Admission)
    proofs: Proofs = field(default_factory=Proofs)
    doorstep: Doorstep = field(default_factory=Doorstep)
    started: float = field(default=0.0)  # the monotonic clock at start, seconds
