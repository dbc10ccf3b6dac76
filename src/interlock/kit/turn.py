"""Whoever works on a request holds a turn, and gives it up as soon as there is nothing left but to wait."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar, Token
from types import TracebackType

_give_up: ContextVar[Callable[[], None] | None] = ContextVar("give_up", default=None)


class Turn:
    """As a context: what runs inside after ``begin`` holds a turn, which ends with it at the latest."""

    __slots__ = ("_give_up", "_token")

    def __init__(self) -> None:
        self._token: Token[Callable[[], None] | None] | None = None

    @property
    def has_begun(self) -> bool:
        """Whether ``begin`` was called."""
        return self._token is not None

    def begin(self, give_up: Callable[[], None]) -> None:
        """``give_up`` ends the turn; it may be called several times, and is at the end."""
        self._give_up = give_up
        self._token = _give_up.set(give_up)

    def __enter__(self) -> Turn:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._token is not None:
            _give_up.reset(self._token)
            self._give_up()


def give_up() -> None:
    """From here on the caller waits for others; whoever has no turn loses none."""
    found = _give_up.get()
    if found is not None:
        found()
