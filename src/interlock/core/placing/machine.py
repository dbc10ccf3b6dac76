"""One worker: what it has, what of it is free, and whether a task fits into that."""

from __future__ import annotations

from interlock.core.placing.amounts import WHOLE, Amounts, down, plain
from interlock.core.resources import Resources
from interlock.core.worker import Capacity

Devices = tuple[int, ...]
"""Numbers of devices that a task has."""


class _Device:
    """A GPU. Its memory is only kept account of where it is known."""

    __slots__ = ("free", "free_memory", "has_memory", "memory", "number")

    def __init__(self, number: int, memory: float) -> None:
        self.number = number
        self.free = WHOLE
        self.memory = self.free_memory = down(memory)
        self.has_memory = memory > 0

    def fits(self, gpu: int, gpu_memory: int) -> bool:
        return self.free >= gpu and (not self.has_memory or self.free_memory >= gpu_memory)


class Machine:
    """What is set aside here adds up to no more than the capacity, on each device too.

    A share of a device is on one; whole devices are nobody else's, with all their memory. Where several processes have
    a part of one machine each, ``whole`` is all of it: a task that needs more than this part, and no more than all,
    takes this whole part for itself.
    """

    __slots__ = (
        "_devices",
        "_whole_cpu",
        "_whole_memory",
        "address",
        "capacity",
        "cpu",
        "free_cpu",
        "free_memory",
        "is_open",
        "memory",
        "worker_id",
    )

    def __init__(self, worker_id: str, capacity: Capacity, *, address: str = "", whole: Capacity | None = None) -> None:
        self.worker_id = worker_id
        self.address = address
        self.capacity = capacity
        self.is_open = True  # whether it takes anything new
        self.cpu = self.free_cpu = down(capacity.cpu)
        self.memory = self.free_memory = down(capacity.memory)
        whole = whole or capacity
        self._whole_cpu, self._whole_memory = down(whole.cpu), down(whole.memory)
        self._devices = {gpu.number: _Device(gpu.number, gpu.memory) for gpu in capacity.gpus}

    def could_hold(self, ask: Amounts) -> bool:
        """Whether it would fit if nothing else were here."""
        return self.most(ask) == ask

    def most(self, ask: Amounts) -> Amounts:
        """As much of it as this machine has in all."""
        gpu = min(ask.gpu, WHOLE * len(self._devices))
        cpu, memory = min(ask.cpu, self._whole_cpu), min(ask.memory, self._whole_memory)
        return Amounts(cpu, memory, gpu, self._most_memory(ask, gpu))

    def _part(self, ask: Amounts) -> Amounts:
        """What of it is taken from the part that is this process's."""
        if ask.cpu <= self.cpu and ask.memory <= self.memory:
            return ask
        return ask._replace(cpu=min(ask.cpu, self.cpu), memory=min(ask.memory, self.memory))

    def _most_memory(self, ask: Amounts, gpu: int) -> int:
        devices = sorted(self._devices.values(), key=lambda device: -device.memory)
        if not gpu or any(not device.has_memory for device in devices):
            return ask.gpu_memory if gpu else 0
        taken = devices[: max(1, gpu // WHOLE)]
        return min(ask.gpu_memory, sum(device.memory for device in taken))

    def find(self, ask: Amounts) -> Devices | None:
        """The devices it could have now; None if it does not fit."""
        if ask.cpu > self._whole_cpu or ask.memory > self._whole_memory:
            return None
        ask = self._part(ask)
        if ask.cpu > self.free_cpu or ask.memory > self.free_memory:
            return None
        if not ask.gpu:
            return ()
        if ask.gpu < WHOLE:
            return next(((d.number,) for d in self._devices.values() if d.fits(ask.gpu, ask.gpu_memory)), None)
        return self._find_whole(ask.gpu // WHOLE, ask.gpu_memory)

    def _find_whole(self, count: int, gpu_memory: int) -> Devices | None:
        free = [device for device in self._devices.values() if device.free == WHOLE]
        if len(free) < count:
            return None
        for chosen in (free[:count], sorted(free, key=lambda device: -device.memory)[:count]):
            if not all(device.has_memory for device in chosen) or sum(d.memory for d in chosen) >= gpu_memory:
                return tuple(sorted(device.number for device in chosen))
        return None

    def leaves_room(self, ask: Amounts, other: Amounts) -> bool:
        """Whether ``other``, which waits for this machine, comes no later if ``ask`` is taken now."""
        ask, other = self._part(ask), self._part(other)
        return (
            _spares(self.free_cpu, ask.cpu, other.cpu)
            and _spares(self.free_memory, ask.memory, other.memory)
            and not (ask.gpu and other.gpu)
        )

    def take(self, ask: Amounts, gpus: Devices, sign: int = 1) -> None:
        """Set it aside; with ``sign`` -1 give it back."""
        ask = self._part(ask)
        self.free_cpu -= sign * ask.cpu
        self.free_memory -= sign * ask.memory
        for number in gpus:
            device = self._devices.get(number)
            if device is not None:  # else it was announced anew, without this device
                device.free -= sign * min(ask.gpu, WHOLE)
                device.free_memory -= sign * (ask.gpu_memory if ask.gpu < WHOLE else device.memory)

    @property
    def free(self) -> Resources:
        """What is not set aside."""
        return Resources(
            cpu=plain(max(0, self.free_cpu)),
            memory=plain(max(0, self.free_memory)),
            gpu=plain(sum(max(0, device.free) for device in self._devices.values())),
            gpu_memory=plain(sum(max(0, device.free_memory) for device in self._devices.values())),
        )


def _spares(free: int, taken: int, wanted: int) -> bool:
    """What is there already for who waits stays there; of what is still lacking nothing is taken."""
    return free - taken >= wanted if free >= wanted else taken == 0
