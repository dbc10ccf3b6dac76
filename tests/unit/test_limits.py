"""The table of limits: which windows hold for a route and a caller, and what an operator may change."""

from __future__ import annotations

from uuid import UUID

import pytest

from interlock.core.limits import (
    TABLE,
    Group,
    LimitTable,
    Quota,
    Standing,
    Verdict,
    Window,
    caller_of,
    group_of,
    limit_names,
    read_quotas,
    refusal,
)
from interlock.core.principal import Principal, Tier

USER = Principal("u", "t", frozenset())
ANYBODY = Principal("anonymous", "", frozenset(), kind="anonymous")


def key(tier: Tier = Tier.STANDARD) -> Principal:
    return Principal("k", "t", frozenset(), kind="key", tier=tier, key_id=UUID(int=5))


def held(table: LimitTable, group: Group, method: str, *paths: str, who: Principal = USER) -> dict[str, int]:
    """The windows of a route: how many requests by the window's name."""
    return {window.name: window.limit for window in table.windows(table.rules_for(group, method, *paths), who)}


def own(table: LimitTable, method: str, path: str) -> dict[str, int]:
    """The windows of a tool's route that one key has for itself."""
    found = held(table, Group.MCP, method, path, who=key())
    return {name: limit for name, limit in found.items() if "-keys-" not in name}


APP_ROUTES = [
    ("POST", "/chat/stream", {"app-chat-hour": 100}),
    ("GET", "/sessions", {"app-sessions-hour": 1000}),
    ("DELETE", "/sessions/{session_id}", {"app-sessions-hour": 1000}),
    ("GET", "/workflows/{workflow_id}", {"app-workflows-hour": 500}),
    ("POST", "/workflows/{workflow_id}/execute", {"app-execute-hour": 100}),
    ("POST", "/workflows/{id}/trigger/manual", {"app-execute-hour": 100}),
    ("GET", "/executions/{execution_id}/stream", {"app-executions-hour": 200}),
    ("GET", "/workflows/executions/active", {"app-executions-hour": 200}),
    ("GET", "/auth/profile", {"app-auth-hour": 200}),
    ("GET", "/approvals", {}),
]


@pytest.mark.parametrize(("method", "path", "own"), APP_ROUTES)
def test_an_app_route_has_its_own_window_and_the_total(method: str, path: str, own: dict[str, int]) -> None:
    assert held(LimitTable(), Group.APP, method, path, f"/api/app{path}") == {**own, "app-hour": 10_000}


def test_public_routes_have_two_totals_and_the_probe_has_none() -> None:
    totals = {"public-minute": 100, "public-hour": 1000}
    table = LimitTable()
    assert held(table, Group.PUBLIC, "GET", "/info", who=ANYBODY) == {"public-info-minute": 60, **totals}
    assert held(table, Group.PUBLIC, "GET", "/node-types", who=ANYBODY) == {"public-nodes-minute": 60, **totals}
    assert held(table, Group.PUBLIC, "POST", "/token", "/auth/v1/token", who=ANYBODY) == {
        "public-auth-minute": 20,
        **totals,
    }
    assert held(table, Group.PUBLIC, "GET", "/health", who=ANYBODY) == {"public-health-minute": 1000}


def test_machines_and_the_other_doors_have_their_numbers() -> None:
    table = LimitTable()
    assert own(table, "POST", "/invoke") == {"mcp-call-hour": 1000, "mcp-hour": 50_000}
    assert own(table, "GET", "/tools/{name}") == {"mcp-list-hour": 5000, "mcp-hour": 50_000}
    assert own(table, "GET", "/health") == {"mcp-health-hour": 1000}
    assert held(table, Group.ENGINE, "POST", "/api/workflow/start") == {
        "engine-start-hour": 1000,
        "engine-hour": 10_000,
    }
    assert held(table, Group.ENGINE, "POST", "/api/workflow/{session_id}/event") == {"engine-hour": 10_000}
    callback = held(table, Group.ENGINE, "POST", "/api/workflow/{session_id}/callback", who=ANYBODY)
    assert callback == {"engine-callback-minute": 600}
    assert held(table, Group.ENGINE, "POST", "/run_langgraph_task") == {
        "engine-graph-start-hour": 5000,
        "engine-hour": 10_000,
    }
    assert held(table, Group.MODELS, "POST", "/v1/chat/completions") == {"models-minute": 600}


def test_a_path_belongs_to_the_group_of_its_door() -> None:
    assert group_of("app", "/api/app/workflows") is Group.APP
    assert group_of("identity", "/auth/v1/token") is Group.PUBLIC
    assert group_of("models", "/v1/embeddings") is Group.MODELS
    assert group_of("tempo", "/api/llm/chat") is Group.MODELS
    assert group_of("tempo", "/api/workflow/start") is Group.ENGINE
    assert group_of("a door nobody thought of", "/x") is Group.ENGINE
    assert group_of("shared", "/ready") is None


def test_premium_is_ten_times_as_much_for_users_and_machines() -> None:
    premium = Principal("u", "t", frozenset(), tier=Tier.PREMIUM)
    assert held(LimitTable(), Group.APP, "POST", "/chat/stream", who=premium) == {
        "app-chat-hour": 1000,
        "app-hour": 100_000,
    }
    assert held(LimitTable(), Group.MCP, "POST", "/invoke", who=key(Tier.PREMIUM))["mcp-hour"] == 500_000
    assert held(LimitTable(), Group.PUBLIC, "GET", "/info", who=premium)["public-info-minute"] == 60


def test_the_tier_without_limits_exists_in_local_mode_only() -> None:
    developer = Principal("u", "t", frozenset(), tier=Tier.DEVELOPMENT)
    outside, local = LimitTable(), LimitTable(is_local=True, limits_public=False)
    assert held(outside, Group.APP, "GET", "/approvals", who=developer) == {"app-hour": 10_000}
    assert outside.tier_of(developer) == Tier.STANDARD
    assert held(local, Group.APP, "GET", "/approvals") == {}
    assert held(local, Group.PUBLIC, "GET", "/info", who=ANYBODY) == {}
    assert own(local, "POST", "/invoke") == {"mcp-call-hour": 1000, "mcp-hour": 50_000}
    assert held(local, Group.MCP, "POST", "/invoke", who=key(Tier.DEVELOPMENT)) == {}


def test_a_change_holds_everywhere_and_replaces_the_row() -> None:
    changes = {"app:POST /workflows/{workflow_id}/execute": "7/hour", "public:*": "5 per second, 90/minute"}
    for table in (LimitTable(changes), LimitTable(changes, is_local=True, limits_public=False)):
        assert held(table, Group.APP, "POST", "/workflows/{id}/execute")["app-execute-hour"] == 7
        public = held(table, Group.PUBLIC, "GET", "/info", who=ANYBODY)
        assert {"public-second": 5, "public-minute": 90}.items() <= public.items()
        assert "public-hour" not in public


def test_all_keys_of_a_tenant_and_tier_share_twice_what_one_may_do() -> None:
    table = LimitTable()
    windows = table.windows(table.rules_for(Group.MCP, "POST", "/invoke"), key())
    assert {window.name: window.limit for window in windows if window.caller} == {
        "mcp-call-keys-hour": 2000,
        "mcp-keys-hour": 100_000,
    }
    (shared,) = {window.caller for window in windows if window.caller}
    premium = table.windows(table.rules_for(Group.MCP, "POST", "/invoke"), key(Tier.PREMIUM))
    assert {window.limit for window in premium if window.caller} == {20_000, 1_000_000}
    assert shared not in {window.caller for window in premium}
    assert not any(window.caller for window in table.windows(table.rules_for(Group.APP, "GET", "/sessions"), USER))
    assert not any(window.caller for window in table.windows(table.rules_for(Group.PUBLIC, "GET", "/info"), key()))


def test_what_keys_share_can_be_changed_too() -> None:
    table = LimitTable({"mcp:* together": "70/hour", "mcp:POST /invoke": "9/minute"})
    found = held(table, Group.MCP, "POST", "/invoke", who=key())
    assert found == {
        "mcp-call-minute": 9,
        "mcp-call-keys-minute": 18,
        "mcp-hour": 50_000,
        "mcp-keys-hour": 70,
    }
    with pytest.raises(ValueError, match=r"mcp:\* together"):
        LimitTable({"public:* together": "1/hour"})


@pytest.mark.parametrize("text", ["", "0/hour", "10", "10/week", "ten/hour", "10/hour,", "1/hour, 2/hour", "-1/hour"])
def test_what_is_no_quota_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="limit"):
        read_quotas(text)


def test_a_change_of_nothing_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ValueError, match="app:POST /chat/stream"):
        LimitTable({"app:/chats": "1/hour"})


def test_quotas_are_read_in_any_unit() -> None:
    assert read_quotas("3/second, 4 per minutes,5/hours , 6/day") == (
        Quota(3, 1),
        Quota(4, 60),
        Quota(5, 3600),
        Quota(6, 86_400),
    )


def test_names_of_windows_and_of_limits_are_unique() -> None:
    windows = [window.name for rule in TABLE for window in rule.windows(1)]
    assert len(set(windows)) == len(windows)
    assert len(set(limit_names())) == len(limit_names())


def test_callers_are_told_apart_by_what_they_proved() -> None:
    assert caller_of(Group.APP, USER, "1.2.3.4") == caller_of(Group.APP, USER, "5.6.7.8")
    assert caller_of(Group.PUBLIC, USER, "1.2.3.4") == caller_of(Group.PUBLIC, ANYBODY, "1.2.3.4")
    assert caller_of(Group.ENGINE, ANYBODY, "1.2.3.4") != caller_of(Group.ENGINE, ANYBODY, "5.6.7.8")
    others = [
        Principal("u", "other", frozenset()),
        Principal("v", "t", frozenset()),
        Principal("u", "t", frozenset(), kind="key", key_id=UUID(int=1)),
        Principal("u", "t", frozenset(), kind="key", key_id=UUID(int=2)),
    ]
    assert len({caller_of(Group.APP, who, "") for who in (USER, *others)}) == 5


def test_names_with_colons_do_not_make_one_caller_of_two() -> None:
    first, second = Principal("c", "a:b", frozenset()), Principal("b:c", "a", frozenset())
    assert caller_of(Group.APP, first, "") != caller_of(Group.APP, second, "")


def test_a_refusal_names_the_window_that_stays_full_for_longest() -> None:
    minute, hour, idle = Window("m", 5, 60), Window("h", 9, 3600), Window("d", 99, 86_400)
    verdict = Verdict(False, (Standing(minute, 5, 12.3), Standing(hour, 9, 1000.2), Standing(idle, 50, 9e4)))
    error = refusal(verdict, 1_790_001_001)
    assert error.retry_after == 1001
    assert error.details == {
        "limit": 9,
        "current": 9,
        "reset_time": 1_790_001_001,
        "retry_after": 1001,
        "window": "h",
    }
