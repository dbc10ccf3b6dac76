"""Functions as tasks: what they need, how they are retried and batched."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, ParamSpec, TypeVar, overload

from interlock.client.errors import NotSendable

P = ParamSpec("P")
R = TypeVar("R")

Form = Literal["auto", "source", "pickle"]

_MEMORY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]i?B?)?\s*", re.IGNORECASE)
_MEBIBYTES = {"k": 1 / 1024, "m": 1.0, "g": 1024.0, "t": 1024.0 * 1024}


@dataclass(frozen=True)
class Retry:
    """How often a task is tried, 1 to 10 times, and how long to wait between: doubling up to ``max_backoff`` s."""

    attempts: int = 3
    backoff: float = 1.0
    max_backoff: float = 60.0

    def __post_init__(self) -> None:
        if not 1 <= self.attempts <= 10:
            raise ValueError(f"a task is tried 1 to 10 times, not {self.attempts}")

    def as_json(self) -> dict[str, float]:
        return {
            "max_attempts": self.attempts,
            "backoff_seconds": self.backoff,
            "max_backoff_seconds": self.max_backoff,
        }


@dataclass(frozen=True)
class Batch:
    """Up to ``size`` calls of a task are made as one, with a list of inputs; the first waits at most ``wait`` s."""

    size: int = 32
    wait: float = 0.1

    def as_json(self) -> dict[str, Any]:
        return {"enabled": True, "batch_size": self.size, "batch_timeout": self.wait}


@dataclass(frozen=True)
class Needs:
    """What is set aside for a task: processors, memory, graphics processors and their memory (MiB)."""

    cpu: float = 1
    memory: float = 0
    gpu: float = 0
    gpu_memory: float = 0

    def as_json(self) -> dict[str, float]:
        return {"cpu": self.cpu, "cpu_mem": self.memory, "gpu": self.gpu, "gpu_mem": self.gpu_memory}


class Task(Generic[P, R]):
    """A function and how it runs on a server. Called here, it is the function itself."""

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str,
        needs: Needs,
        timeout: float | None,
        retry: Retry | None,
        batch: Batch | None,
        send: Form,
    ) -> None:
        self.function = function
        self.name = name
        self.needs = needs
        self.timeout = timeout
        self.retry = retry
        self.batch = batch
        self.send = send
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<task {self.name}>"


@overload
def task(function: Callable[P, R], /) -> Task[P, R]: ...


@overload
def task(
    *,
    name: str | None = None,
    cpu: float = 1,
    memory: str | int = 0,
    gpu: float = 0,
    gpu_memory: str | int = 0,
    timeout: float | None = None,
    retry: Retry | int | None = None,
    batch: Batch | int | None = None,
    send: Form = "auto",
) -> Callable[[Callable[P, R]], Task[P, R]]: ...


def task(
    function: Callable[P, R] | None = None,
    /,
    *,
    name: str | None = None,
    cpu: float = 1,
    memory: str | int = 0,
    gpu: float = 0,
    gpu_memory: str | int = 0,
    timeout: float | None = None,
    retry: Retry | int | None = None,
    batch: Batch | int | None = None,
    send: Form = "auto",
) -> Any:
    """Mark a function of one dict as a task: ``@task`` or ``@task(cpu=2, memory="1GiB", gpu=0.5)``.

    The function gets its inputs as one dict and returns a dict of its outputs. ``memory`` and ``gpu_memory`` are a
    text such as ``"512MiB"``, or a number of MiB; ``timeout`` is in seconds. ``retry=3`` is ``Retry(attempts=3)``,
    ``batch=8`` is ``Batch(size=8)``; a batched function gets a list of dicts and returns as many results, and must
    take a single dict too. ``send`` says in which form it travels: as its source, as a pickle, or (``"auto"``) as
    its source if that is all it needs. Raises ValueError for values that mean nothing.
    """
    needs = needs_of(cpu, memory, gpu, gpu_memory)
    if timeout is not None and timeout <= 0:
        raise ValueError(f"timeout is a number of seconds above 0, not {timeout!r}")
    retrying = Retry(attempts=retry) if isinstance(retry, int) else retry
    batching = Batch(size=batch) if isinstance(batch, int) else batch

    def mark(marked: Callable[P, R]) -> Task[P, R]:
        if not callable(marked):
            raise TypeError(f"only functions can be tasks, not {type(marked).__name__}")
        label = name or str(getattr(marked, "__name__", type(marked).__name__))
        return Task(marked, name=label, needs=needs, timeout=timeout, retry=retrying, batch=batching, send=send)

    return mark if function is None else mark(function)


def as_task(given: Any) -> Task[..., Any]:
    """The task itself, or the one a bare function is. Raises NotSendable for anything else."""
    if isinstance(given, Task):
        return given
    if callable(given):
        return task(given)
    raise NotSendable(f"{given!r} is no function; mark one with @interlock.task")


def needs_of(cpu: float, memory: str | int, gpu: float, gpu_memory: str | int) -> Needs:
    """What these values ask for. Raises ValueError."""
    for label, amount in (("cpu", cpu), ("gpu", gpu)):
        if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 <= amount < math.inf:
            raise ValueError(f"{label} is a number from 0 on, not {amount!r}")
    return Needs(cpu, mebibytes(memory), gpu, mebibytes(gpu_memory))


def mebibytes(amount: str | int) -> int:
    """A memory size in MiB: of a number, or of a text such as ``"1.5GiB"``; GB counts as GiB. Raises ValueError."""
    if isinstance(amount, int) and not isinstance(amount, bool) and amount >= 0:
        return amount
    found = _MEMORY.fullmatch(amount) if isinstance(amount, str) else None
    if found is None:
        raise ValueError(f'memory is a text such as "512MiB" or "2GiB", or a number of MiB, not {amount!r}')
    unit = (found[2] or "m")[0].lower()
    return max(1, round(float(found[1]) * _MEBIBYTES[unit])) if float(found[1]) else 0
