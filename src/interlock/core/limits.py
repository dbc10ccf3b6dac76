"""Which limits hold for whom: the table as data, the windows that follow from it, and where a caller stands in them.

A limit is a *window*: at most so many requests of one caller in any so many seconds. A request counts in every window
that applies to it: that of its route, and the total of its group of routes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

import msgspec

from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.principal import Principal, Tier

Strategy = Literal["sliding_window", "fixed_window"]

MINUTE, HOUR = 60, 3600
_UNITS = {"second": 1, "minute": MINUTE, "hour": HOUR, "day": 86_400}
_QUOTA = re.compile(r"\s*([1-9][0-9]{0,8})\s*(?:/|per)\s*(second|minute|hour|day)s?\s*")
_PARAMETER = re.compile(r"\{[^}]*\}")


class Window(msgspec.Struct, frozen=True):
    """At most ``limit`` requests of one caller in any ``seconds``; ``name`` tells it from other windows.

    ``caller`` is whose requests count in it, if it is not those of the caller alone who asks.
    """

    name: str
    limit: int
    seconds: int
    caller: str = ""


class Standing(msgspec.Struct, frozen=True):
    """Where a caller stands: ``used`` requests count, the first of them for ``reset_after`` seconds more."""

    window: Window
    used: int
    reset_after: float

    @property
    def remaining(self) -> int:
        """How many more requests fit now."""
        return max(0, self.window.limit - self.used)


class Verdict(msgspec.Struct, frozen=True):
    """What became of one request: admitted and counted in all windows, or refused and counted in none.

    ``stamp`` is the limiter's own time of it, by which it can be given back.
    """

    is_admitted: bool
    standings: tuple[Standing, ...]
    stamp: int = 0

    @property
    def tightest(self) -> Standing:
        """The window with the fewest requests left; of several, the one that stays so for longest."""
        standings = self.standings
        return standings[0] if len(standings) == 1 else min(standings, key=_tightness)

    def later(self, seconds: float) -> Verdict:
        """The same so many seconds later, if nothing has changed meanwhile."""
        standings = tuple(Standing(of.window, of.used, max(0.0, of.reset_after - seconds)) for of in self.standings)
        return Verdict(self.is_admitted, standings, self.stamp)


def _tightness(standing: Standing) -> tuple[int, float]:
    return standing.remaining, -standing.reset_after


class Group(StrEnum):
    """Routes that share a total and a way to tell callers apart."""

    PUBLIC = "public"  # by the client's address
    APP = "app"
    MCP = "mcp"
    ENGINE = "engine"  # the doors that have no table of their own
    MODELS = "models"


class Quota(msgspec.Struct, frozen=True):
    """So many requests in so many seconds."""

    limit: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table: the quotas that the requests of ``routes`` share.

    A route is a template (`/sessions/{id}`), perhaps with a method before it or ``*`` behind it; ``*`` alone is the
    total of the group. ``free_304`` gives back what was answered with 304. ``together`` is what all API keys of a
    tenant and tier share, unless it is ``KEYS_TOGETHER`` times the quotas of one.
    """

    group: Group
    slug: str
    routes: tuple[str, ...]
    quotas: tuple[Quota, ...]
    in_total: bool = True
    free_304: bool = False
    is_changed: bool = False
    together: tuple[Quota, ...] | None = None

    @property
    def is_total(self) -> bool:
        return self.routes == ("*",)

    def windows(self, factor: int) -> tuple[Window, ...]:
        """The rule's windows for callers who may do ``factor`` times as much."""
        return tuple(
            Window(f"{self.slug}-{_unit(quota.seconds)}", quota.limit * factor, quota.seconds) for quota in self.quotas
        )

    def windows_together(self, factor: int, caller: str) -> tuple[Window, ...]:
        """The windows that all keys of a tenant share, which counts as ``caller``. None where addresses are counted."""
        if self.group is Group.PUBLIC:
            return ()
        quotas = self.together or [Quota(quota.limit * KEYS_TOGETHER, quota.seconds) for quota in self.quotas]
        return tuple(
            Window(f"{self.slug}-keys-{_unit(quota.seconds)}", quota.limit * factor, quota.seconds, caller)
            for quota in quotas
        )


def _unit(seconds: int) -> str:
    return next((word for word, length in _UNITS.items() if length == seconds), f"{seconds}s")


def _row(
    group: Group,
    slug: str,
    routes: Sequence[str],
    quota: tuple[int, int],
    *,
    in_total: bool = True,
    free_304: bool = False,
) -> Rule:
    name = f"{group}-{slug}" if slug else str(group)
    return Rule(group, name, tuple(routes), (Quota(*quota),), in_total=in_total, free_304=free_304)


_STARTS = ("POST /workflows/{id}/execute", "POST /workflows/{id}/trigger/manual", "POST /workflows/{id}/manual-invoke")
_ENGINE_STARTS = (
    "POST /api/workflow/start",
    "POST /runs",
    "POST /run_workflow",
    "POST /api/v1/runs",
    "POST /studio/api/v1/runs",
)

KEYS_TOGETHER = 2
"""All API keys of a tenant may do as much as so many: one that is busy leaves room, and a hundred are no way around."""

TABLE: tuple[Rule, ...] = (
    _row(Group.PUBLIC, "health", ["/health"], (1000, MINUTE), in_total=False),
    _row(Group.PUBLIC, "status", ["/status"], (60, MINUTE)),
    _row(Group.PUBLIC, "info", ["/info"], (60, MINUTE)),
    _row(Group.PUBLIC, "version", ["/version"], (60, MINUTE)),
    _row(Group.PUBLIC, "metrics", ["/metrics"], (60, MINUTE)),
    _row(Group.PUBLIC, "nodes", ["/node-*"], (60, MINUTE)),
    _row(Group.PUBLIC, "docs", ["/docs*", "/redoc*", "/openapi*"], (10, MINUTE)),
    _row(Group.PUBLIC, "validation", ["/validation/*"], (30, MINUTE)),
    _row(Group.PUBLIC, "auth", ["/auth/*", "/auth/v1/*"], (20, MINUTE)),
    Rule(Group.PUBLIC, "public", ("*",), (Quota(100, MINUTE), Quota(1000, HOUR))),
    _row(Group.APP, "chat", ["POST /chat/stream"], (100, HOUR)),
    _row(Group.APP, "execute", _STARTS, (100, HOUR)),
    _row(Group.APP, "executions", ["/executions*", "/workflows/executions/*"], (200, HOUR), free_304=True),
    _row(Group.APP, "sessions", ["/sessions*"], (1000, HOUR)),
    _row(Group.APP, "workflows", ["/workflows*"], (500, HOUR)),
    _row(Group.APP, "auth", ["/auth/*"], (200, HOUR)),
    _row(Group.APP, "", ["*"], (10_000, HOUR)),
    _row(Group.MCP, "health", ["/health"], (1000, HOUR), in_total=False),
    _row(Group.MCP, "call", ["POST /invoke", "tools/call"], (1000, HOUR)),
    _row(Group.MCP, "list", ["/tools*", "tools/list"], (5000, HOUR)),
    _row(Group.MCP, "", ["*"], (50_000, HOUR)),
    _row(Group.ENGINE, "graph-start", ["POST /run_langgraph_task"], (5000, HOUR)),
    _row(Group.ENGINE, "start", _ENGINE_STARTS, (1000, HOUR)),
    _row(Group.ENGINE, "callback", ["POST /api/workflow/{id}/callback"], (600, MINUTE), in_total=False),
    _row(Group.ENGINE, "", ["*"], (10_000, HOUR)),
    _row(Group.MODELS, "", ["*"], (600, MINUTE)),
)
"""All limits of the standard tier. In a group the first rule that fits a route is its own; the total comes on top."""

_GROUP_OF_DOOR: Mapping[str, Group | None] = {
    "shared": None,
    "public": Group.PUBLIC,
    "identity": Group.PUBLIC,
    "app": Group.APP,
    "mcp": Group.MCP,
    "models": Group.MODELS,
}
_MODEL_ROUTES = ("/v1/", "/api/llm/")
_PREMIUM = 10
_TOGETHER = " together"
_PREMIUM_GROUPS = (Group.APP, Group.MCP)


def group_of(door: str, route: str) -> Group | None:
    """The group of a route, given with its door's prefix; None for paths that every prober may ask without end."""
    if route.startswith(_MODEL_ROUTES):
        return Group.MODELS
    return _GROUP_OF_DOOR.get(door, Group.ENGINE)


def caller_of(group: Group, principal: Principal, client: str) -> str:
    """Whose requests count together: the principal's, or those of ``client``, an address, where nobody is known."""
    if group is Group.PUBLIC or principal.kind == "anonymous":
        return f"client:{client}"
    tenant_id = principal.tenant_id  # with its length, because both names may hold colons
    return f"{principal.kind}:{len(tenant_id)}:{tenant_id}:{principal.key_id or principal.subject}"


def together_of(principal: Principal, tier: Tier) -> str:
    """Whose requests those of a key count with: those of all keys of its tenant and tier."""
    return f"keys:{tier}:{principal.tenant_id}"


class LimitTable:
    """The table of one server. ``changes`` maps routes such as ``app:POST /chat/stream`` to ``200/hour``, and with
    `` together`` behind them to what all API keys of a tenant may do.

    In local mode only API keys are limited, and what ``changes`` names; ``limits_public`` says whether the public
    group is limited at all. Raises ValueError for a change that names no rule or no quota.
    """

    def __init__(
        self, changes: Mapping[str, str] | None = None, *, is_local: bool = False, limits_public: bool = True
    ) -> None:
        self._is_local = is_local
        self._limits_public = limits_public
        self._rules = _changed(TABLE, changes or {})

    def rules_for(self, group: Group, method: str, *paths: str) -> tuple[Rule, ...]:
        """The rules of a route, its own first: ``paths`` are its template, with and without its door's prefix."""
        wanted = [_plain(path) for path in paths]
        rules = [rule for rule in self._rules if rule.group is group]
        own = next((rule for rule in rules if not rule.is_total and _fits(rule, method, wanted)), None)
        totals = [rule for rule in rules if rule.is_total and (own is None or own.in_total)]
        return (*((own,) if own else ()), *totals)

    def rules_of(self, group: Group) -> tuple[Rule, ...]:
        """All rules of a group."""
        return tuple(rule for rule in self._rules if rule.group is group)

    def windows(self, rules: Sequence[Rule], principal: Principal) -> tuple[Window, ...]:
        """What of these rules holds for a caller; for an API key also what it shares with the others of its tenant."""
        tier = self.tier_of(principal)
        held = [(rule, _factor(rule, tier)) for rule in rules if self._holds(rule, tier)]
        windows = [window for rule, factor in held for window in rule.windows(factor)]
        if principal.kind == "key":
            caller = together_of(principal, tier)
            windows += [window for rule, factor in held for window in rule.windows_together(factor, caller)]
        return tuple(windows)

    def tier_of(self, principal: Principal) -> Tier:
        """The caller's tier; nobody is without limits outside local mode, and there everybody but API keys is."""
        if self._is_local:
            return principal.tier if principal.kind == "key" else Tier.DEVELOPMENT
        return Tier.STANDARD if principal.tier == Tier.DEVELOPMENT else principal.tier

    def _holds(self, rule: Rule, tier: Tier) -> bool:
        if rule.is_changed:
            return True
        if rule.group is Group.PUBLIC:
            return self._limits_public
        return tier != Tier.DEVELOPMENT


def _factor(rule: Rule, tier: Tier) -> int:
    return _PREMIUM if tier == Tier.PREMIUM and rule.group in _PREMIUM_GROUPS else 1


def _plain(path: str) -> str:
    return _PARAMETER.sub("{}", path)


def _fits(rule: Rule, method: str, paths: Sequence[str]) -> bool:
    return any(_fits_route(route, method, path) for route in rule.routes for path in paths)


def _fits_route(route: str, method: str, path: str) -> bool:
    wanted, space, template = route.rpartition(" ")
    if space and wanted != method:
        return False
    template = _plain(template)
    return path.startswith(template[:-1]) if template.endswith("*") else path == template


def _changed(table: tuple[Rule, ...], changes: Mapping[str, str]) -> tuple[Rule, ...]:
    rules = {f"{rule.group}:{_plain(route)}": index for index, rule in enumerate(table) for route in rule.routes}
    changed = list(table)
    for name, text in changes.items():
        route = name.strip()
        index = rules.get(_plain(route.removesuffix(_TOGETHER)))
        is_together = route.endswith(_TOGETHER)
        if index is None or (is_together and table[index].group is Group.PUBLIC):
            raise ValueError(f"names no limit with {name!r}; there are {', '.join(sorted(limit_names()))}")
        if not isinstance(text, str):
            raise ValueError(f"{name!r} needs a text such as 200/hour")
        quotas = read_quotas(text)
        rule = changed[index]
        changed[index] = (
            replace(rule, together=quotas) if is_together else replace(rule, quotas=quotas, is_changed=True)
        )
    return tuple(changed)


def limit_names() -> list[str]:
    """Every name under which a limit can be changed."""
    names = [(rule.group, route) for rule in TABLE for route in rule.routes]
    together = [f"{group}:{route}{_TOGETHER}" for group, route in names if group is not Group.PUBLIC]
    return [*(f"{group}:{route}" for group, route in names), *together]


def read_quotas(text: str) -> tuple[Quota, ...]:
    """``200/hour``, or several with commas between them. Raises ValueError."""
    quotas = []
    for part in text.split(","):
        found = _QUOTA.fullmatch(part)
        if found is None:
            raise ValueError(f"{part.strip()!r} is no limit; write it like 200/hour (second, minute, hour or day)")
        quotas.append(Quota(int(found[1]), _UNITS[found[2]]))
    if len({quota.seconds for quota in quotas}) < len(quotas):
        raise ValueError(f"{text!r} has two limits for the same time")
    return tuple(quotas)


def refusal(verdict: Verdict, reset_time: float) -> InterlockError:
    """What a caller is told whose request did not fit; ``reset_time`` is an epoch in seconds. HTTP 429."""
    tightest = verdict.tightest
    window = tightest.window
    seconds = max(1, -int(-tightest.reset_after // 1))
    whose = " from all API keys of your tenant together" if window.caller else ""
    return InterlockError(
        ErrorKind.LIMITED,
        "RATE_LIMIT_EXCEEDED",
        f"At most {window.limit} requests{whose} in {window.seconds} seconds ({window.name}); try again in {seconds} s",
        details={
            "limit": window.limit,
            "current": tightest.used,
            "reset_time": int(reset_time),
            "retry_after": seconds,
            "window": window.name,
        },
        retryable=True,
        retry_after=seconds,
    )
