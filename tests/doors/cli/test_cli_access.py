"""Tenants, API keys and the audit log from the command line, against a real server."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest

from cli_house import Interlock, new_tenant
from interlock.bootstrap.access import read_configured_keys
from interlock.config import Settings
from interlock.kit.ids import RandomIds
from served import RunningServer


@pytest.fixture
def tenant_id(server: RunningServer) -> str:
    """A tenant that nothing else uses."""
    return new_tenant(server, f"cli-{RandomIds().new()}")


def test_a_key_is_made_listed_rotated_and_revoked(interlock: Interlock, server: RunningServer, tenant_id: str) -> None:
    own = ("--tenant", tenant_id)
    made = interlock("keys", "create", "ci", "--scope", "executions:read", "--days", "9", *own, "--json")
    assert made.code == 0, made.err
    key = made.json
    assert key["key"].startswith("il_local_")
    renewed = interlock("keys", "rotate", key["public_id"], "--grace", "0", *own, "--json").json
    assert (renewed["client_name"], renewed["replaces"]) == ("ci", key["public_id"])
    assert interlock("keys", "revoke", renewed["id"], *own).out == "Revoked. Within 5 s no process takes it.\n"
    listed = interlock("keys", "list", *own, "--json").json["api_keys"]
    assert [(one["id"], one["active"]) for one in listed] == [(renewed["id"], False), (key["id"], False)]
    other = new_tenant(server, tenant_id + "-other")
    assert interlock("keys", "list", "--tenant", other, "--json").json["api_keys"] == []
    assert "`interlock keys list`" in interlock("keys", "revoke", "nothing", *own).err


def test_a_tenant_whose_name_was_mistyped_is_told_and_not_made(interlock: Interlock) -> None:
    name = f"typo-{RandomIds().new()}"
    for command in (("keys", "list"), ("users", "list"), ("keys", "create", "ci", "--scope", "tools:read")):
        ended = interlock(*command, "--tenant", name)
        assert (ended.code, f"There is no tenant {name}." in ended.err) == (1, True), ended.err
        assert "`interlock tenants list`" in ended.err
    assert interlock("tenants", "list", "--search", name, "--json").json["tenants"] == []


def test_a_name_that_is_taken_is_told_where_to_look(interlock: Interlock, tenant_id: str) -> None:
    assert "`interlock tenants list`" in interlock("tenants", "create", tenant_id).err
    assert "The tenant default is the operator's own" in interlock("tenants", "disable", "default").err


def test_a_key_is_shown_to_people_once(interlock: Interlock, tenant_id: str) -> None:
    made = interlock("keys", "create", "ci", "--scope", "tools:read", "--signing", "--tenant", tenant_id)
    first, second, third = made.out.splitlines()
    assert first.startswith("il_local_")
    assert second.startswith("signing secret ")
    assert third.endswith("scopes tools:read")
    assert "cannot be shown again" in made.err
    listed = interlock("keys", "list", "--tenant", tenant_id).out
    assert "✓ good" in listed
    assert first not in listed


def test_a_key_ends_when_it_is_said_in_either_way(interlock: Interlock, tenant_id: str) -> None:
    own = ("--scope", "tools:read", "--tenant", tenant_id, "--json")
    for option, text, begins in (("--expires", "2099-01-31", "2099-01-31T00:00:00"), ("--expires", "9d", "20")):
        made = interlock("keys", "create", "--client-name", "ci", option, text, *own)
        assert made.json["expires_at"].startswith(begins), made.err
    for wrong in (
        ("ci", "--client-name", "other"),
        (),
        ("ci", "--expires", "soon"),
        ("ci", "--expires", "9d", "--days", "9"),
        ("ci", "--days", "5000000"),
        ("ci", "--expires", "0001-01-01T00:00:00+23:00"),
        ("ci", "--config", "--signing"),
        ("ci", "--config", "--tier", "golden"),
    ):
        assert interlock("keys", "create", *wrong, *own).code == 2, wrong


def test_a_record_for_the_settings_holds_the_hash_and_asks_no_server(interlock: Interlock, tmp_path: Path) -> None:
    options = ("--scope", "tools:read", "--expires", "2099-01-31", "--config", "--url", "http://127.0.0.1:1")
    made = interlock("keys", "create", "tools", *options, "--tenant", "acme", "--json")
    assert made.code == 0, made.err
    told = made.json
    assert told["key"] not in json.dumps(told["record"])
    settings = Settings(_env_file=None, mcp_api_keys=json.dumps(told["record"]), data_dir=tmp_path)
    ((digest, key),) = read_configured_keys(settings).items()
    assert digest == hashlib.sha256(told["key"].encode()).digest()
    assert (key.client_name, key.scopes, key.tenant_id) == ("tools", ("tools:read",), "acme")
    assert key.expires_at == datetime(2099, 1, 31, tzinfo=UTC)
    shown = interlock("keys", "create", "tools", *options).out.splitlines()
    assert shown[1].startswith('MCP_API_KEYS={"')


def test_a_key_without_sense_is_refused_in_a_sentence(interlock: Interlock, tenant_id: str) -> None:
    ended = interlock("keys", "create", "ci", "--scope", "tools:fly", "--tenant", tenant_id)
    assert ended.code == 1
    assert "There is no scope 'tools:fly'" in ended.err


def test_the_log_says_what_was_done_and_refused(interlock: Interlock, server: RunningServer, tenant_id: str) -> None:
    key = interlock("keys", "create", "ci", "--scope", "tools:read", "--tenant", tenant_id, "--json").json
    refused = httpx2.get(f"{server.url}/api/app/api-keys", headers={"x-api-key": key["key"]})
    assert refused.status_code == 401
    found = interlock("audit", "--tenant", tenant_id, "--json").json
    assert [(one["action"], one["outcome"]) for one in found["entries"]] == [
        ("GET /api/app/api-keys", "refused"),
        ("POST /api/app/api-keys", "done"),
    ]
    assert "POST /api/app/api-keys" in interlock("audit", "--tenant", tenant_id).out
    assert key["key"] not in json.dumps(found)
    nothing = interlock("audit", "--tenant", tenant_id, "--action", "DELETE")
    assert nothing.out == "The audit log has nothing of that kind.\n"


def test_a_tenant_is_made_listed_disabled_and_let_in_again(interlock: Interlock) -> None:
    tenant_id = f"cli-{RandomIds().new()}"
    made = interlock("tenants", "create", tenant_id, "--title", "Acme")
    assert (made.code, made.out) == (0, f"{tenant_id} (Acme): active, accounts: 0, API keys: 0\n"), made.err
    assert f"users create EMAIL --role admin --tenant {tenant_id}" in made.err
    assert interlock("keys", "list", "--tenant", tenant_id).code == 0
    disabled = interlock("tenants", "disable", tenant_id)
    assert "disabled since 20" in disabled.out
    refused = interlock("keys", "list", "--tenant", tenant_id)
    assert (refused.code, "This tenant is disabled" in refused.err) == (1, True), refused.err
    assert "`interlock tenants enable NAME`" in refused.err
    assert "GET /api/app/api-keys" in interlock("audit", "--tenant", tenant_id, "--outcome", "refused").out
    listed = interlock("tenants", "list", "--search", tenant_id, "--state", "disabled")
    assert "✗ disabled" in listed.out
    assert interlock("tenants", "enable", tenant_id, "--json").json["disabled"] is False
    assert interlock("keys", "list", "--tenant", tenant_id).code == 0
    assert interlock("tenants", "show", tenant_id, "--json").json["title"] == "Acme"
    assert interlock("tenants", "show", "nothing-of-this-name").code == 1
    assert interlock("tenants", "disable", "default").code != 0


def test_lists_go_on_behind_a_page_and_take_filters(interlock: Interlock, tenant_id: str) -> None:
    for number in range(3):
        name = f"{tenant_id}-{number}"
        assert interlock("tenants", "create", name).code == 0
        interlock("keys", "create", f"ci-{number}", "--scope", "tools:read", "--tenant", tenant_id)
    page = interlock("tenants", "list", "--search", tenant_id + "-", "--limit", "2")
    assert f"3 in all; go on with --cursor {tenant_id}-1" in page.err
    rest = interlock("tenants", "list", "--search", tenant_id + "-", "--cursor", f"{tenant_id}-1", "--json").json
    assert [one["name"] for one in rest["tenants"]] == [f"{tenant_id}-2"]
    keys = interlock("keys", "list", "--tenant", tenant_id, "--limit", "2")
    assert "3 in all; go on with --offset 2" in keys.err
    found = interlock("keys", "list", "--tenant", tenant_id, "--search", "CI-1", "--state", "active", "--json").json
    assert [one["client_name"] for one in found["api_keys"]] == ["ci-1"]
    for wrong in (("tenants", "list", "--state", "x"), ("users", "list", "--role", "x"), ("audit", "--outcome", "x")):
        assert interlock(*wrong).code == 2, wrong


def test_the_log_is_filtered_by_actor_and_time(interlock: Interlock, tenant_id: str) -> None:
    interlock("keys", "create", "ci", "--scope", "tools:read", "--tenant", tenant_id)
    own = ("--tenant", tenant_id, "--json")
    assert len(interlock("audit", "--actor", "local", *own).json["entries"]) == 1
    assert interlock("audit", "--actor", "ann", *own).json["entries"] == []
    for option, text, count in (
        ("--until", "2026-01-01T00:00Z", 0),
        ("--until", "2026-01-01", 0),
        ("--since", "2026-01-01T00:00+02:00", 1),
    ):
        assert len(interlock("audit", option, text, *own).json["entries"]) == count, text
    assert interlock("audit", "--since", "yesterday", *own).code == 2
