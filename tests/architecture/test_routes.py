"""The route table is reviewed: every route, who may call it, and with which scope."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from interlock.core.principal import Scope
from interlock.doors.http.app_factory import all_operations, all_routes, all_sockets
from interlock.doors.http.plumbing.context import Context
from interlock.doors.http.plumbing.operation import Call, Operation, Policy, Reply
from interlock.doors.http.plumbing.pipeline import Pipeline
from interlock.doors.http.plumbing.replies import EmptyReply
from interlock.doors.http.plumbing.routing import RouteError, RouteTable, route_lines
from interlock.doors.http.shared import SHARED
from interlock.doors.http.tempo import websocket

TABLE = Path(__file__).parents[2] / "docs" / "reference" / "routes.txt"
OPERATIONS = all_operations(lambda: b"")
OPEN = {"/", "/live", "/ready", "/version", "/docs", "/docs/assets/{name}", "/redoc", "/api/v1/docs", "/openapi.json"}
OPEN |= {"/api/v1/health"}

IDENTITY_OPEN = {"/signup", "/token", "/verify", "/health", "/settings", "/.well-known/jwks.json"}


async def _answer(call: Call[None, None]) -> Reply:
    return EmptyReply(204)


def _operation(**changes: object) -> Operation:
    plain = Operation(method="GET", path="/x", door=SHARED, summary="x", handler=_answer, policy=Policy.OPEN)
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def _build(*operations: Operation) -> RouteTable:
    return RouteTable(operations, Pipeline.__new__(Pipeline))


def test_the_route_table_is_the_reviewed_one() -> None:
    """G1: after a change on purpose: `python tests/architecture/test_routes.py`, written to the table and reviewed."""
    assert TABLE.read_text().splitlines() == route_lines([*OPERATIONS, *all_sockets()])


def test_nothing_answers_without_an_operation_that_says_who_may_call_it() -> None:
    """G1."""
    routes = all_routes(Context.__new__(Context), lambda: b"", Pipeline.__new__(Pipeline))
    found = [operation for route in routes for operation in route.operations]
    assert route_lines(found) == route_lines([*OPERATIONS, *all_sockets()])
    assert all(operation.policy is not None for operation in found)


def test_the_start_fails_for_a_socket_without_a_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    """G1."""
    monkeypatch.setattr(websocket, "WATCH", dataclasses.replace(websocket.WATCH, policy=None))
    with pytest.raises(RouteError, match="declares no policy"):
        websocket.EventSocket(Context.__new__(Context))


def test_only_the_listed_routes_are_open_to_everybody() -> None:
    """G14."""
    assert {operation.path for operation in OPERATIONS if operation.policy is Policy.OPEN} == OPEN | IDENTITY_OPEN


def test_every_user_route_names_a_known_scope() -> None:
    users = [operation for operation in OPERATIONS if operation.policy is Policy.USER]
    assert users
    assert {operation.scope for operation in users} <= set(Scope)


def test_every_app_route_is_for_users_under_both_prefixes() -> None:
    app = [operation for operation in OPERATIONS if operation.door.name == "app"]
    assert {operation.policy for operation in app} == {Policy.USER}
    prefixes = {operation.door.prefixes for operation in app}
    assert prefixes == {("/api/app", "/api/v1/app"), ("/api/v1",)}  # the last is one legacy path


def test_the_start_fails_for_an_operation_without_a_policy() -> None:
    """G1."""
    with pytest.raises(RouteError, match="declares no policy"):
        _build(_operation(policy=None))


def test_the_start_fails_for_a_user_operation_without_a_scope() -> None:
    with pytest.raises(RouteError, match="declares no scope"):
        _build(_operation(policy=Policy.USER))


def test_the_start_fails_when_two_operations_claim_the_same_place() -> None:
    with pytest.raises(RouteError, match="is claimed by"):
        _build(_operation(), _operation(summary="another"))


def test_the_start_fails_when_only_the_names_of_parameters_differ() -> None:
    with pytest.raises(RouteError, match="is claimed by"):
        _build(_operation(path="/x/{one}"), _operation(path="/x/{other}"))


if __name__ == "__main__":
    print("\n".join(route_lines([*OPERATIONS, *all_sockets()])))
