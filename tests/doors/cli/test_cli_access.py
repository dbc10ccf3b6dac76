"""API keys and the audit log from the command line, against a real server."""

from __future__ import annotations

import json

import httpx2
import pytest

from cli_house import Interlock
from interlock.kit.ids import RandomIds
from served import RunningServer


@pytest.fixture
def tenant_id() -> str:
    """A tenant that nothing else uses."""
    return f"cli-{RandomIds().new()}"


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
    assert interlock("keys", "list", "--tenant", tenant_id + "-other", "--json").json["api_keys"] == []


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


def test_a_key_without_sense_is_refused_in_a_sentence(interlock: Interlock, tenant_id: str) -> None:
    ended = interlock("keys", "create", "ci", "--scope", "tools:fly", "--tenant", tenant_id)
    assert ended.code == 1
    assert "There is no scope 'tools:fly'" in ended.err


def test_the_log_says_what_was_done_and_refused(interlock: Interlock, server: RunningServer, tenant_id: str) -> None:
    key = interlock("keys", "create", "ci", "--scope", "tools:read", "--tenant", tenant_id, "--json").json
    refused = httpx2.get(f"{server.url}/api/app/api-keys", headers={"x-api-key": key["key"]})
    assert refused.status_code == 401
    found = interlock("audit", "--tenant", tenant_id, "--json").json
    assert [(one["action"], one["outcome"]) for one in found["entries"]] == [("POST /api/app/api-keys", "done")]
    assert "POST /api/app/api-keys" in interlock("audit", "--tenant", tenant_id).out
    assert key["key"] not in json.dumps(found)
    nothing = interlock("audit", "--tenant", tenant_id, "--action", "DELETE")
    assert nothing.out == "The audit log has nothing of that kind.\n"
