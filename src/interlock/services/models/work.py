"""What providers did for one call: what they told of it, and what may be going on though nobody told."""

from __future__ import annotations

from interlock.core.models.prices import Usage, total
from interlock.core.models.requests import ModelRequest, most_used
from interlock.core.models.routing import Deployment


class Work:
    """Follows a call from one provider to the next, so that whatever ends it, its price is known.

    A request that went out is paid: with what the provider told, else with the most that it can have used. Several
    tries of one request are paid once. ``deployment`` is who was asked last.
    """

    __slots__ = ("_before", "_open", "_told", "deployment")

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self._told: list[Usage] = []
        self._open = self._before = Usage()

    @property
    def used(self) -> Usage:
        """All of it until now."""
        return total((*self._told, self._open))

    @property
    def parts(self) -> int:
        """Of how many requests it is known what they used."""
        return len(self._told)

    def sent(self, request: ModelRequest, deployment: Deployment) -> None:
        """A request is on its way; from now on a provider may be at work."""
        self.deployment = deployment
        self._before, self._open = self._open, most_used(request)

    def refused(self) -> None:
        """Nothing came of what was sent last; what was sent before it may still go on."""
        self._open = self._before

    def told(self, usage: Usage) -> None:
        """The answer is here, and this is what it took."""
        self._told.append(usage)
        self._open = self._before = Usage()
