"""What one child is started in."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from interlock.ports.node import Attempt

CHILD = "interlock.backends.executor.pool.child"


class Cell(Protocol):
    """The command of a child, its surroundings, and what is to be cleared away behind it."""

    @property
    def is_trusted(self) -> bool:
        """Whether what runs in it is ours: else the child may say anything, as often as it likes."""
        ...

    def open(self) -> None:
        """Make what it needs, before anything else is asked of it. Raises OSError."""
        ...

    @property
    def environment(self) -> Mapping[str, str] | None:
        """All that the child sees of the server's environment; None: all of it."""
        ...

    @property
    def groups(self) -> Sequence[str]:
        """``cgroup.procs`` files that the child enters before it runs."""
        ...

    @property
    def reached(self) -> Sequence[str]:
        """Folders that the child is to reach as a user of its own; none: it runs as the server's user."""
        ...

    def command(self, channel: int) -> Sequence[str]:
        """What is run; ``{guard}`` in it stands for the number of the guard's process."""
        ...

    def suit(self, attempt: Attempt) -> None:
        """Set the limits of the child, before its first attempt."""
        ...

    @property
    def has_run_out(self) -> bool:
        """Whether the child, which is dead, or something it began was killed for want of memory, if that is known."""
        ...

    def clear(self) -> None:
        """The child is dead: leave nothing of it."""
        ...


@dataclass(frozen=True)
class OpenCell:
    """A plain process, for functions that are trusted."""

    registry: str
    environment: Mapping[str, str] | None
    groups: Sequence[str] = ()
    reached: Sequence[str] = ()
    is_trusted: bool = True
    has_run_out: bool = False

    def open(self) -> None:
        """It needs nothing."""

    def command(self, channel: int) -> Sequence[str]:
        """The child of this package, which gets its node types by a dotted path."""
        return (sys.executable, "-P", "-m", CHILD, "{guard}", str(channel), self.registry)

    def suit(self, attempt: Attempt) -> None:
        """Nothing is limited."""

    def clear(self) -> None:
        """Nothing is left."""
