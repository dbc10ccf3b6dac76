"""How much this process may take on: its slots, its share of a tenant's cap, and the length of a tenant's queue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.execution import WaitingReason
from interlock.runtime.reading import Reading
from interlock.runtime.runner import Runner

CLAIM_BATCH = 200
"""Executions that one claim takes at most."""


def share_of(cap: int, runner_id: int, runners: Sequence[int]) -> int:
    """This runner's part of a tenant's cap; the parts of all runners together are the cap."""
    others = sorted({*runners, runner_id})
    return cap // len(others) + (others.index(runner_id) < cap % len(others))


class Room:
    """What this process may take on, judged by what it holds and what is on its way to it.

    Every process works on at most its share of a tenant's cap, so that all of them together never pass it; what one has
    no room for is queued, for whoever has some. A tenant whose queue is not empty starts nothing past it.
    """

    def __init__(self, runner: Runner, reading: Reading, *, slots: int, tenant_cap: int, queue_cap: int) -> None:
        self._runner = runner
        self._reading = reading
        self._slots = slots
        self._tenant_cap = tenant_cap
        self.queue_cap = queue_cap
        self._runners = 1
        self._coming: Counter[str] = Counter()
        self._is_claiming = False
        self._behind: frozenset[str] = frozenset()
        self._queued: Counter[str] = Counter()  # here, since the depths were counted
        self._depths: Mapping[str, int] = {}
        self.share = tenant_cap
        self.turn = (0, 1)  # which of how many processes this is

    # What is taken on --------------------------------------------------------------------------------------

    def free_slots(self) -> int:
        """How many more executions this process takes."""
        return self._slots - len(self._runner.owned) - self._reading.pending - self._coming.total()

    def fits(self, tenant_id: str) -> bool:
        """Whether an execution of this tenant may be owned here at once."""
        if self.free_slots() <= 0 or self._has_queue(tenant_id):
            return False
        here = self._runner.tenant_counts.get(tenant_id, 0) + self.promised(tenant_id)
        return here + (CLAIM_BATCH if self._is_claiming else 0) < self.share

    def promised(self, tenant_id: str) -> int:
        """Executions of a tenant that are on their way into memory."""
        return self._coming[tenant_id] + self._reading.pending_of(tenant_id)

    @contextmanager
    def coming(self, tenant_id: str) -> Iterator[None]:
        """Keep room for one execution meanwhile."""
        self._coming[tenant_id] += 1
        try:
            yield
        finally:
            self._coming[tenant_id] -= 1
            if not self._coming[tenant_id]:
                del self._coming[tenant_id]

    @contextmanager
    def claiming(self) -> Iterator[dict[str, int]]:
        """A claim is under way and may fill any share; what comes back is promised already, by tenant."""
        self._is_claiming = True
        try:
            yield dict(self._coming)
        finally:
            self._is_claiming = False

    def set_runners(self, runner_id: int, runners: Sequence[int]) -> None:
        """Who shares the caps."""
        self.share = share_of(self._tenant_cap, runner_id, runners)
        others = sorted({*runners, runner_id})
        self.turn = others.index(runner_id), len(others)
        self._runners = max(1, len(runners))

    # What is queued ----------------------------------------------------------------------------------------

    @property
    def has_backlog(self) -> bool:
        """Whether there was more to claim than there was room for."""
        return bool(self._behind)

    def set_behind(self, tenants: Iterable[str]) -> None:
        """The tenants that have more due than this process had room for."""
        self._behind = frozenset(tenants)

    def set_depths(self, depths: Mapping[str, int]) -> None:
        """How long the queues are, as they were just counted."""
        self._depths = depths
        self._queued.clear()

    def queue(self, tenant_id: str) -> WaitingReason:
        """Note a start that is queued, and say why. Raises LIMITED if the tenant's queue is full."""
        if self._has_full_queue(tenant_id):
            raise self._full_queue()
        self._queued[tenant_id] += 1
        return WaitingReason.SLOT if self.free_slots() <= 0 else WaitingReason.TENANT_CAP

    def refusal(self, tenant_id: str) -> InterlockError | None:
        """What a start of this tenant would raise now for want of room."""
        is_refused = not self.fits(tenant_id) and self._has_full_queue(tenant_id)
        return self._full_queue() if is_refused else None

    def _has_queue(self, tenant_id: str) -> bool:
        """Whether something of this tenant may wait to be claimed: what was queued counts until the next count."""
        return tenant_id in self._behind or self._queued[tenant_id] > 0 or self._depths.get(tenant_id, 0) > 0

    def _has_full_queue(self, tenant_id: str) -> bool:
        """What the others have queued since the last count is taken to be as much as here."""
        return self._depths.get(tenant_id, 0) + self._queued[tenant_id] * self._runners >= self.queue_cap

    def _full_queue(self) -> InterlockError:
        return InterlockError(
            ErrorKind.LIMITED,
            "QUEUE_FULL",
            f"{self.queue_cap} executions of your tenant wait to be worked on; try again when some have begun",
            details={"limit": self.queue_cap, "queue_name": "executions"},
            retryable=True,
            retry_after=1.0,
        )
