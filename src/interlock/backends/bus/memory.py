"""Hints within one process: enough alone, and the inner half of every other bus."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeVar
from uuid import UUID

from interlock.backends.bus.followers import LogFollower, TenantFollower
from interlock.backends.bus.hints import Hint, LogGrew
from interlock.kit.ids import named
from interlock.ports.bus import LogRow

OnInbox = Callable[[UUID, int | None], None]
_Follower = TypeVar("_Follower", LogFollower, TenantFollower)


@lru_cache(maxsize=4096)
def topic_of(tenant_id: str) -> UUID:
    """What a tenant is called between processes: short, and not to be read back."""
    return named("tenant", tenant_id)


class MemoryBus:
    """Satisfies ``ports.bus.Bus`` for a process without peers. Every call is for the event loop's own thread."""

    def __init__(self) -> None:
        self._followers: dict[UUID, set[LogFollower]] = {}
        self._by_tenant: dict[UUID, set[TenantFollower]] = {}
        self._on_inbox: list[OnInbox] = []

    async def start(self) -> None:
        """Nothing to do: it is always up."""

    async def stop(self) -> None:
        """Let everybody go who waits."""
        for followers in list(self._followers.values()):
            for follower in list(followers):
                follower.close()

    def log_grew(self, execution_id: UUID, tenant_id: str, rows: Sequence[LogRow] = ()) -> None:
        """Wake whoever follows the execution or its tenant here, at once."""
        for follower in self._followers.get(execution_id, ()):
            follower.hint(rows)
        if self._by_tenant:
            self._tell_tenant(execution_id, topic_of(tenant_id))

    def inbox_grew(self, execution_id: UUID, owner: int | None) -> None:
        """Tell everybody who asked by ``on_inbox``, at once."""
        for callback in self._on_inbox:
            callback(execution_id, owner)

    def heard(self, hint: Hint) -> None:
        """Pass on what another process said."""
        if not isinstance(hint, LogGrew):
            self.inbox_grew(*hint)
            return
        for follower in self._followers.get(hint.execution_id, ()):
            follower.hint()
        self._tell_tenant(hint.execution_id, hint.topic)

    def follow(self, execution_id: UUID) -> LogFollower:
        """A subscription from now on. Follow first and read then, or else what happens between is hinted to nobody."""
        follower = LogFollower(lambda one: _discard(self._followers, execution_id, one))
        self._followers.setdefault(execution_id, set()).add(follower)
        return follower

    def follow_tenant(self, tenant_id: str, on_hint: Callable[[], None]) -> TenantFollower:
        """A subscription to all executions of a tenant from now on. ``on_hint`` must not block or raise."""
        topic = topic_of(tenant_id)
        follower = TenantFollower(lambda one: _discard(self._by_tenant, topic, one), on_hint)
        self._by_tenant.setdefault(topic, set()).add(follower)
        return follower

    def on_inbox(self, callback: OnInbox) -> None:
        """Be told of every ``inbox_grew``. The callback must not block or raise."""
        self._on_inbox.append(callback)

    def set_peers(self, others: bool) -> None:
        """Nothing ever leaves this process."""

    def wake_all(self) -> None:
        """A hint to everybody who follows a log: after hints may have been missed, they look for themselves."""
        for followers in self._followers.values():
            for follower in followers:
                follower.hint()

    def _tell_tenant(self, execution_id: UUID, topic: UUID) -> None:
        for follower in self._by_tenant.get(topic, ()):
            follower.hint(execution_id)


def _discard(followers: dict[UUID, set[_Follower]], key: UUID, one: _Follower) -> None:
    found = followers.get(key)
    if found is not None:
        found.discard(one)
        if not found:
            del followers[key]
