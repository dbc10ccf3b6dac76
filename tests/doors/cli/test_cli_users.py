"""Accounts from the command line."""

from __future__ import annotations

import json

import httpx2

from cli_house import Interlock, new_tenant
from interlock.kit.ids import RandomIds
from served import RunningServer

PASSWORD = "correct horse battery"


def log_in(server: RunningServer, email: str) -> httpx2.Response:
    body = {"email": email, "password": PASSWORD}
    return httpx2.post(f"{server.url}/auth/v1/token?grant_type=password", json=body, timeout=30)


def call_admin_path(server: RunningServer, token: str) -> int:
    headers = {"authorization": f"Bearer {token}"}
    return httpx2.get(f"{server.url}/api/app/users", headers=headers, timeout=30).status_code


def test_an_account_from_its_making_to_its_end(interlock: Interlock, server: RunningServer) -> None:
    email, tenant = f"{RandomIds().new().hex}@example.org", new_tenant(server, f"t-{RandomIds().new().hex}")

    def run(*arguments: str) -> None:
        ended = interlock("users", *arguments, "--tenant", tenant)
        assert ended.code == 0, ended.err

    made = interlock("users", "create", email, "--unconfirmed", "--tenant", tenant, "--json", stdin=f"{PASSWORD}\n")
    assert json.loads(made.out)["tenant_id"] == tenant
    assert log_in(server, email).json()["error_code"] == "email_not_confirmed"
    run("confirm", email)
    token = log_in(server, email).json()["access_token"]
    assert call_admin_path(server, token) == 403
    run("role", email, "admin")
    assert call_admin_path(server, log_in(server, email).json()["access_token"]) == 200
    run("disable", email)
    assert log_in(server, email).json()["error_code"] == "user_banned"
    listed = json.loads(interlock("users", "list", "--tenant", tenant, "--json").out)["users"]
    assert [(user["email"], user["role"], user["disabled"]) for user in listed] == [(email, "admin", True)]
    assert "disabled" in interlock("users", "list", "--tenant", tenant).out
    run("enable", email)
    assert log_in(server, email).status_code == 200


def test_another_tenants_account_is_not_found(interlock: Interlock, server: RunningServer) -> None:
    email = f"{RandomIds().new().hex}@example.org"
    one, two = [new_tenant(server, f"t-{RandomIds().new().hex}") for _ in range(2)]
    assert interlock("users", "create", email, "--tenant", one, stdin=f"{PASSWORD}\n").code == 0
    ended = interlock("users", "disable", email, "--tenant", two, "--json")
    assert ended.code == 1
    error = json.loads(ended.err)["error"]
    assert (error["code"], "`interlock users list`" in error["next"]) == ("NOT_FOUND", True), error
    taken = interlock("users", "create", email, "--tenant", two, "--json", stdin=f"{PASSWORD}\n")
    assert "`interlock users list`" in json.loads(taken.err)["error"]["next"], taken.err


def test_the_operator_reaches_the_accounts_of_all_tenants(interlock: Interlock, server: RunningServer) -> None:
    mark = RandomIds().new().hex
    tenants = [new_tenant(server, f"{mark[-8:]}-{number}") for number in range(2)]
    for tenant in tenants:
        interlock("users", "create", f"ann@{tenant}.example", "--tenant", tenant, stdin=f"{PASSWORD}\n")
    listed = interlock("users", "list", "--search", mark[-8:]).out
    assert [line.split()[-1] for line in listed.splitlines() if line.strip()] == ["Tenant", *tenants], listed
    email = f"ann@{tenants[0]}.example"
    assert interlock("users", "disable", email).code == 0
    assert log_in(server, email).json()["error_code"] == "user_banned"


def test_a_password_that_is_too_short_makes_no_account(interlock: Interlock) -> None:
    ended = interlock("users", "create", "c@example.org", "--json", stdin="short\n")
    assert ended.code == 1
    assert json.loads(ended.err)["error"]["code"] == "WEAK_PASSWORD"


def test_a_forgotten_password_is_replaced_and_ends_the_logins(interlock: Interlock, server: RunningServer) -> None:
    email, tenant = f"{RandomIds().new().hex}@example.org", new_tenant(server, f"t-{RandomIds().new().hex}")
    own = ("--tenant", tenant)
    assert interlock("users", "create", email, *own, stdin=f"{PASSWORD}\n").code == 0
    login = log_in(server, email).json()
    assert interlock("users", "password", email, *own, stdin="another password\n").code == 0
    assert log_in(server, email).json()["error_code"] == "invalid_credentials"
    body = {"refresh_token": login["refresh_token"]}
    renewed = httpx2.post(f"{server.url}/auth/v1/token?grant_type=refresh_token", json=body, timeout=30)
    assert renewed.status_code == 400
    assert interlock("users", "password", email, *own, stdin="short\n").code != 0
    assert interlock("users", "password", email, "--tenant", "other", stdin="another password\n").code != 0


def test_accounts_are_listed_by_address_role_and_state(interlock: Interlock, server: RunningServer) -> None:
    mark, tenant = RandomIds().new().hex, new_tenant(server, f"t-{RandomIds().new().hex}")
    own = ("--tenant", tenant)
    for name, options in (("ann", ("--role", "admin")), ("ben", ()), ("cyd", ("--unconfirmed",))):
        interlock("users", "create", f"{name}-{mark}@example.org", *options, *own, stdin=f"{PASSWORD}\n")
    interlock("users", "disable", f"ben-{mark}@example.org", *own)
    for options, found in (
        ((), ["ann", "ben", "cyd"]),
        (("--role", "admin"), ["ann"]),
        (("--state", "disabled"), ["ben"]),
        (("--state", "unconfirmed"), ["cyd"]),
        (("--state", "ready"), ["ann"]),
        (("--search", f"CYD-{mark}"), ["cyd"]),
        (("--limit", "1", "--offset", "1"), ["ben"]),
    ):
        listed = interlock("users", "list", *options, *own, "--json").json["users"]
        assert [one["email"].partition("-")[0] for one in listed] == found, options
