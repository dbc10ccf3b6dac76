"""Whether a request fits its caller's limits, and what every answer to a limited request says of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from starlette.types import Scope

from interlock.core.errors import InterlockError
from interlock.core.limits import Group, Rule, Standing, Verdict, Window, refusal
from interlock.core.principal import Principal
from interlock.doors.http.plumbing.client import ClientAddresses, network_of
from interlock.doors.http.plumbing.guesses import Guesses
from interlock.doors.http.plumbing.operation import Operation, Policy
from interlock.doors.http.plumbing.replies import Headers
from interlock.doors.http.plumbing.trace import EXCHANGE, Exchange
from interlock.kit.clock import Clock
from interlock.services.limits import CountRequests, Plan, Taken


@dataclass(frozen=True, slots=True)
class Limited:
    """What an exchange keeps of its limits: the count, and the headers of its answer, whatever that will be."""

    taken: Taken
    headers: Headers


class Limits:
    """Asks for each request whether it fits, between its scope and its body."""

    def __init__(self, count: CountRequests, clock: Clock, addresses: ClientAddresses | None = None) -> None:
        self._count = count
        self._clock = clock
        self._addresses = addresses or ClientAddresses()
        self._plans: dict[tuple[str, str, str], Plan | None] = {}
        self.guesses = Guesses(clock)
        self.given_back = 0
        """How many counts this process has given back for want of room: a full window may have room again."""

    @property
    def state(self) -> str:
        """How the shared store of the limits is, in the words of ``/health``."""
        return self._count.state

    def client_of(self, scope: Scope) -> str:
        """The address a request comes from."""
        peer = scope.get("client")
        return self._addresses.find(peer[0] if peer else "", scope["headers"])

    def asker(self, operation: Operation, scope: Scope, principal: Principal) -> str | None:
        """Who stands in one line: the caller's tenant, or the address of whoever is nobody in particular.

        None for what is open to everybody: whoever asks how we are is told, however busy we are.
        """
        if operation.policy is Policy.OPEN:
            return None
        return principal.tenant_id or f"client:{self._network_of(scope)}"

    async def admit(self, operation: Operation, scope: Scope, principal: Principal) -> None:
        """Count a request whose credential and scope are right. Raises LIMITED; then it counts nowhere."""
        plan = self._plan(operation)
        taken = await self._count.take(plan, principal, self._network_of(scope)) if plan is not None else None
        if plan is None or taken is None:
            return
        now = self._clock.now().timestamp()
        exchange: Exchange | None = scope.get(EXCHANGE)
        if exchange is not None:  # a socket answers without headers
            exchange.limited = Limited(taken, _headers(plan.group, taken.verdict, now))
        if not taken.verdict.is_admitted:
            raise refusal(taken.verdict, math.ceil(now + taken.verdict.tightest.reset_after))

    def closed_for(self, limited: Limited) -> float:
        """So many seconds nothing fits after this count unless one is given back; 0 for one that fitted."""
        return self._count.closed_for(limited.taken)

    def refused_later(self, limited: Limited, seconds: float) -> tuple[InterlockError, Limited]:
        """What is told so many seconds after a refusal if its windows are still full."""
        taken, now = limited.taken, self._clock.now().timestamp()
        verdict = taken.verdict.later(seconds)
        headers = _headers(taken.plan.group, verdict, now)
        error = refusal(verdict, math.ceil(now + verdict.tightest.reset_after))
        return error, Limited(Taken(taken.plan, taken.caller, verdict), headers)

    async def settle(self, exchange: Exchange) -> None:
        """After the answer: give back what costs nothing, and what there was no room for after all."""
        limited = exchange.limited
        if limited is None or not limited.taken.verdict.is_admitted:
            return
        if exchange.had_no_room:
            self.given_back += 1
        elif exchange.status != 304 or not limited.taken.plan.free_304:
            return
        await self._count.give_back(limited.taken)

    async def standings(self, group: Group, scope: Scope, principal: Principal) -> list[tuple[Rule, Standing]]:
        """Where a caller stands in all windows of a group."""
        return await self._count.standings(group, principal, self._network_of(scope))

    def tier_of(self, principal: Principal) -> str:
        """The tier whose numbers hold for a caller."""
        return self._count.tier_of(principal)

    def _network_of(self, scope: Scope) -> str:
        return network_of(self.client_of(scope))

    def _plan(self, operation: Operation) -> Plan | None:
        key = operation.door.name, operation.method, operation.route
        if key not in self._plans:
            self._plans[key] = self._make_plan(operation)
        return self._plans[key]

    def _make_plan(self, operation: Operation) -> Plan | None:
        return self._count.plan(operation.door.name, operation.method, operation.path, operation.route)


def _headers(group: Group, verdict: Verdict, now: float) -> Headers:
    tightest = verdict.tightest
    headers = _standing_headers(verdict.standings, tightest, now)
    return (*headers, *_model_headers(verdict, tightest)) if group is Group.MODELS else headers


def _standing_headers(standings: Sequence[Standing], tightest: Standing, now: float) -> Headers:
    windows = [tightest.window, *(standing.window for standing in standings if standing is not tightest)]
    return (
        (b"x-ratelimit-limit", b"%d" % tightest.window.limit),
        (b"x-ratelimit-remaining", b"%d" % tightest.remaining),
        (b"x-ratelimit-reset", b"%d" % math.ceil(now + tightest.reset_after)),
        (b"ratelimit-policy", ", ".join(map(_policy, windows)).encode()),
        (b"ratelimit", f'"{tightest.window.name}";r={tightest.remaining};t={_seconds(tightest)}'.encode()),
    )


def _model_headers(verdict: Verdict, tightest: Standing) -> Headers:
    """The words that clients of model servers look for."""
    headers: Headers = (
        (b"x-ratelimit-limit-requests", b"%d" % tightest.window.limit),
        (b"x-ratelimit-remaining-requests", b"%d" % tightest.remaining),
        (b"x-ratelimit-reset-requests", b"%ds" % _seconds(tightest)),
    )
    if verdict.is_admitted:
        return headers
    return (*headers, (b"retry-after-ms", b"%d" % (_seconds(tightest) * 1000)), (b"x-should-retry", b"true"))


@lru_cache(maxsize=1024)
def _policy(window: Window) -> str:
    return f'"{window.name}";q={window.limit};w={window.seconds};qu="requests"'


def _seconds(standing: Standing) -> int:
    """Whole seconds until the next request is free, one at least: what Retry-After says too."""
    return max(1, math.ceil(standing.reset_after))
