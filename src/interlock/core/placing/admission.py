"""Who gets which place next: the first machine on which a task fits, fair between tenants, and nobody forgotten."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator

import msgspec

from interlock.core.placing.amounts import amounts_of, wanted
from interlock.core.placing.machine import Devices, Machine
from interlock.core.placing.over_ask import Fitted, Policy, clamped_of, fit
from interlock.core.placing.wishes import Shape, Wish, Wishes
from interlock.core.resources import Placement, Resources
from interlock.core.worker import Capacity

PATIENCE = 32
"""How often others may be served while the one whose turn it is does not fit; then room is kept for it."""


class Grant(msgspec.Struct, frozen=True):
    """Room that is set aside for a task until ``release``."""

    key: Hashable
    worker_id: str
    fitted: Fitted
    gpus: Devices
    placement: Placement


class Admission:
    """The machines of one process, what is set aside on them, and who waits. A key either waits or holds, once."""

    def __init__(self) -> None:
        self.machines: dict[str, Machine] = {}
        self._wishes = Wishes()
        self._waiting: dict[Hashable, Wish] = {}
        self._held: dict[Hashable, Grant] = {}
        self._fitted: dict[Shape, Fitted | None] = {}
        self._favoured: Wish | None = None
        self._numbers = 0

    # Machines ----------------------------------------------------------------------------------------------

    def set_machine(
        self, worker_id: str, capacity: Capacity, *, address: str = "", whole: Capacity | None = None
    ) -> None:
        """A machine is there, or is another one than before; what runs on it stays set aside."""
        machine = Machine(worker_id, capacity, address=address, whole=whole)
        for grant in self._held.values():
            if grant.worker_id == worker_id:
                machine.take(grant.fitted.ask, grant.gpus)
        self.machines[worker_id] = machine
        self._look_anew()

    def drain(self, worker_id: str) -> None:
        """It gets nothing new."""
        self.machines[worker_id].is_open = False
        self._look_anew()

    def remove_machine(self, worker_id: str) -> list[Hashable]:
        """It is gone; what is still held on it, to be released by whoever holds it."""
        if self.machines.pop(worker_id, None) is not None:
            self._look_anew()
        return self.held_on(worker_id)

    def held_on(self, worker_id: str) -> list[Hashable]:
        """Who has something on a machine."""
        return [key for key, grant in self._held.items() if grant.worker_id == worker_id]

    def _look_anew(self) -> None:
        self._fitted.clear()
        self._favoured = None
        self._wishes.sort(self._can_be_met)

    # Tasks -------------------------------------------------------------------------------------------------

    def ask(
        self,
        key: Hashable,
        tenant_id: str,
        resources: Resources,
        policy: Policy,
        priority: int,
        *,
        is_lost: bool = False,
    ) -> None:
        """A task seeks a place. Raises ValueError if it waits or holds one already.

        One that had a place and lost it (``is_lost``) comes first among its tenant's of the same priority, and room is
        kept for it as soon as another one has gone past.
        """
        if key in self._waiting or key in self._held:
            raise ValueError(f"{key} has asked already")
        self._numbers += 1
        shape = amounts_of(wanted(resources)), policy
        wish = Wish(key, tenant_id, shape, priority, self._numbers, is_lost=is_lost)
        self._waiting[key] = wish
        self._wishes.add(wish, can_be_met=self._can_be_met(wish.shape))

    def hold(self, key: Hashable, resources: Resources, placement: Placement) -> None:
        """A task has its place already, whether or not that machine is known yet: it was placed by another process."""
        ask = amounts_of(resources)
        self._held[key] = Grant(key, placement.worker, Fitted(ask, placement.clamped), placement.gpus, placement)
        machine = self.machines.get(placement.worker)
        if machine is not None:
            machine.take(ask, placement.gpus)

    def withdraw(self, key: Hashable) -> bool:
        """It seeks no place any more. Whether it did."""
        wish = self._waiting.pop(key, None)
        if wish is None:
            return False
        self._wishes.remove(wish)
        self._forget(wish)
        return True

    def release(self, key: Hashable) -> bool:
        """Give back what is set aside for it. Whether anything was: it is given back once."""
        grant = self._held.pop(key, None)
        if grant is None:
            return False
        machine = self.machines.get(grant.worker_id)
        if machine is not None:
            machine.take(grant.fitted.ask, grant.gpus, sign=-1)
        return True

    def grants(self) -> Iterator[Grant]:
        """Set room aside for all that fit now, in turn."""
        failed: set[Shape] = set()
        while self._waiting and len(failed) < len(self._wishes.shapes):
            favoured = self._favoured
            grant = self._next(failed)
            if grant is None:
                return
            if favoured is not self._favoured:  # room is kept for another one now, or for nobody
                failed.clear()
            yield grant

    def _next(self, failed: set[Shape]) -> Grant | None:
        first: Wish | None = None  # whose turn it was, had it fitted
        for wish in self._in_turn():
            fitted = self._fit(wish.shape)
            has_failed = wish.shape in failed and wish is not self._favoured
            found = None if fitted is None or has_failed else self._find(wish, fitted)
            if fitted is not None and found is not None:
                self._pass(first)
                return self._set_aside(wish, fitted, *found)
            failed.add(wish.shape)
            if first is None and fitted is not None:
                first = wish
        return None

    def _in_turn(self) -> Iterator[Wish]:
        if self._favoured is not None:
            yield self._favoured
        yield from self._wishes.in_turn()

    def _find(self, wish: Wish, fitted: Fitted) -> tuple[Machine, Devices] | None:
        for machine in self.machines.values():
            if not machine.is_open:
                continue
            gpus = machine.find(fitted.ask)
            if gpus is not None and self._may_pass(wish, fitted, machine):
                return machine, gpus
        return None

    def _may_pass(self, wish: Wish, fitted: Fitted, machine: Machine) -> bool:
        """Whether it does not take away what is kept for one that has waited long."""
        favoured = self._favoured
        if favoured is None or favoured is wish:
            return True
        other = self._fit(favoured.shape)
        return other is None or not machine.could_hold(other.ask) or machine.leaves_room(fitted.ask, other.ask)

    def _pass(self, first: Wish | None) -> None:
        if first is not None:
            first.passed += 1
            if (first.is_lost or first.passed >= PATIENCE) and self._favoured is None:
                self._favoured = first

    def _set_aside(self, wish: Wish, fitted: Fitted, machine: Machine, gpus: Devices) -> Grant:
        machine.take(fitted.ask, gpus)
        placement = Placement(
            worker=machine.worker_id, address=machine.address, gpus=gpus, clamped=dict(fitted.clamped)
        )
        grant = Grant(wish.key, machine.worker_id, fitted, gpus, placement)
        del self._waiting[wish.key]
        self._wishes.serve(wish)
        self._held[wish.key] = grant
        self._forget(wish)
        return grant

    def _forget(self, wish: Wish) -> None:
        if self._favoured is wish:
            self._favoured = None
        if wish.shape not in self._wishes.shapes:
            self._fitted.pop(wish.shape, None)

    def _can_be_met(self, shape: Shape) -> bool:
        return self._fit(shape) is not None

    def _fit(self, shape: Shape) -> Fitted | None:
        if shape not in self._fitted:
            open_ones = [machine for machine in self.machines.values() if machine.is_open]
            self._fitted[shape] = fit(*shape, open_ones)
        return self._fitted[shape]

    # What is asked of it -----------------------------------------------------------------------------------

    def holds(self, key: Hashable) -> bool:
        """Whether room is set aside for it."""
        return key in self._held

    def waits(self, key: Hashable) -> bool:
        """Whether it seeks a place."""
        return key in self._waiting

    def has_place_for(self, key: Hashable) -> bool:
        """Whether any machine could ever give a waiting task what it asks for."""
        return self._can_be_met(self._waiting[key].shape)

    def has_place_with(self, resources: Resources, policy: Policy) -> bool:
        """Whether any machine could ever give this, cut down if the policy is to."""
        open_ones = [machine for machine in self.machines.values() if machine.is_open]
        return fit(amounts_of(wanted(resources)), policy, open_ones) is not None

    def lacking(self, resources: Resources) -> dict[str, tuple[float, float]]:
        """What no machine could give of this: (asked, the most there is), by name. Empty if one could."""
        ask = amounts_of(wanted(resources))
        open_ones = [machine for machine in self.machines.values() if machine.is_open]
        if fit(ask, "queue", open_ones) is not None:
            return {}
        cut = fit(ask, "clamp", open_ones)
        return dict(cut.clamped) if cut is not None else clamped_of(ask, ask._replace(cpu=0, memory=0, gpu=0))

    def running_on(self) -> Counter[str]:
        """How many tasks hold something, by machine."""
        return Counter(grant.worker_id for grant in self._held.values())

    def waiting(self) -> tuple[int, int]:
        """How many wait for free room, and how many for a machine that is not there."""
        without = sum(count for shape, count in self._wishes.shapes.items() if self._fit(shape) is None)
        return len(self._wishes) - without, without
