"""Whoever works on a request holds a turn, and gives it up as soon as there is nothing left but to wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_give_up: ContextVar[Callable[[], None] | None] = ContextVar("give_up", default=None)


@contextmanager
def held(give_up: Callable[[], None]) -> Iterator[None]:
    """What runs inside holds a turn, which ``give_up`` ends; that may be called several times, and is at the end."""
    token = _give_up.set(give_up)
    try:
        yield
    finally:
        _give_up.reset(token)
        give_up()


def give_up() -> None:
    """From here on the caller waits for others; whoever has no turn loses none."""
    found = _give_up.get()
    if found is not None:
        found()
