"""Counts the requests of callers against the limits that hold for them, and says where they stand."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from interlock.core.limits import Group, LimitTable, Rule, Standing, Verdict, Window, caller_of, group_of
from interlock.core.principal import Principal, Tier
from interlock.ports.limiter import Limiter, LimiterState

_MAX_KNOWN = 1_000
"""Of one route: the windows of each tier, and of each tenant's keys."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What limits a route: its group and rules, and whether an answer without news costs nothing."""

    group: Group
    rules: tuple[Rule, ...]
    free_304: bool
    known: OrderedDict[tuple[Tier, str], tuple[Window, ...]] = field(default_factory=OrderedDict)  # worked out before


@dataclass(frozen=True, slots=True)
class Taken:
    """A request that was looked at: whose, by which plan, and what came of it."""

    plan: Plan
    caller: str
    verdict: Verdict


class CountRequests:
    """The limits of one server. Numbers belong to routes as they were declared, never to what a client wrote."""

    def __init__(self, table: LimitTable, limiter: Limiter) -> None:
        self._table = table
        self._limiter = limiter

    @property
    def state(self) -> LimiterState:
        """How the shared store of the limits is."""
        return self._limiter.state

    def plan(self, door: str, method: str, path: str, route: str) -> Plan | None:
        """What limits an operation: ``path`` is its template below the door's prefix, ``route`` with it."""
        group = group_of(door, route)
        if group is None:
            return None
        rules = self._table.rules_for(group, method, path, route)
        return Plan(group, rules, any(rule.free_304 for rule in rules))

    async def take(self, plan: Plan, principal: Principal, client: str) -> Taken | None:
        """Count one request if it fits; None where nothing limits this caller. ``client`` stands for an address."""
        windows = self._windows(plan, principal)
        if not windows:
            return None
        caller = caller_of(plan.group, principal, client)
        return Taken(plan, caller, await self._limiter.take(caller, windows))

    def closed_for(self, taken: Taken) -> float:
        """So many seconds nothing more fits after this count: 0 if it fitted, or if what fills it may be given back."""
        full = {found.window.name: found.reset_after for found in taken.verdict.standings if not found.remaining}
        if taken.verdict.is_admitted or not full:
            return 0.0
        gives_back = any(rule.free_304 for rule in self._table.rules_of(taken.plan.group))
        lasting = [rule for rule in taken.plan.rules if not rule.free_304 and not (rule.is_total and gives_back)]
        windows = [window for rule in lasting for window in (*rule.windows(1), *rule.windows_together(1, ""))]
        return max((full.get(window.name, 0.0) for window in windows), default=0.0)

    async def give_back(self, taken: Taken) -> None:
        """Let an admitted request count no longer."""
        await self._limiter.give_back(taken.caller, taken.verdict)

    async def standings(self, group: Group, principal: Principal, client: str) -> list[tuple[Rule, Standing]]:
        """Where a caller stands in every window of a group; nothing is counted."""
        pairs = [
            (rule, window) for rule in self._table.rules_of(group) for window in self._table.windows((rule,), principal)
        ]
        if not pairs:
            return []
        found = await self._limiter.look(caller_of(group, principal, client), [window for _, window in pairs])
        return [(rule, standing) for (rule, _), standing in zip(pairs, found, strict=True)]

    def _windows(self, plan: Plan, principal: Principal) -> tuple[Window, ...]:
        whose = self._table.tier_of(principal), principal.tenant_id if principal.kind == "key" else ""
        windows = plan.known.get(whose)
        if windows is None:
            windows = plan.known[whose] = self._table.windows(plan.rules, principal)
            if len(plan.known) > _MAX_KNOWN:
                plan.known.popitem(last=False)
        return windows

    def tier_of(self, principal: Principal) -> str:
        """The tier whose numbers hold for a caller."""
        return str(self._table.tier_of(principal))
