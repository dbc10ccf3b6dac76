"""What the caller may ask for, and how much of it is left."""

from __future__ import annotations

import math

import msgspec

from interlock.core.limits import Group, Rule, Standing
from interlock.doors.http.plumbing.operation import Call, Reply
from interlock.doors.http.plumbing.replies import NO_STORE, JsonReply


class LimitObject(msgspec.Struct, kw_only=True):
    """One window: at most ``limit`` requests to ``routes`` in any ``window_seconds``.

    ``*`` stands for all routes together; ``reset_time`` is the epoch second when the next counted request is free.
    """

    name: str
    routes: list[str]
    limit: int
    window_seconds: int
    current: int
    remaining: int
    reset_time: int


class LimitsObject(msgspec.Struct, kw_only=True):
    """The caller's tier and its windows; without any nothing is limited. ``storage`` is ``shared`` or ``process``."""

    success: bool
    tier: str
    limits: list[LimitObject]
    storage: str


async def show_limits(call: Call[None, None]) -> Reply:
    """The caller's windows at this door, and where they stand after this request."""
    limits = call.context.limits
    now = call.context.clock.now().timestamp()
    found = await limits.standings(Group.APP, call.scope, call.principal)
    answer = LimitsObject(
        success=True,
        tier=limits.tier_of(call.principal),
        limits=[_limit(rule, standing, now) for rule, standing in found],
        storage="shared" if limits.state == "connected" else "process",
    )
    return JsonReply(answer, headers=NO_STORE)


def _limit(rule: Rule, standing: Standing, now: float) -> LimitObject:
    window = standing.window
    return LimitObject(
        name=window.name,
        routes=list(rule.routes),
        limit=window.limit,
        window_seconds=window.seconds,
        current=standing.used,
        remaining=standing.remaining,
        reset_time=math.ceil(now + standing.reset_after),
    )
