"""Who may call what is what the reviewed table of routes says: each route with each scope, role and bad credential."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from doors.test_access_prober import Probe
from figures import Note
from interlock.core.principal import SCOPES_OF, Principal, Role, Scope
from interlock.doors.http.plumbing.operation import Operation
from interlock.services.access.keys import KeyWishes

TABLE = Path(__file__).parents[2] / "docs" / "reference" / "routes.txt"
FIRST_ADDRESS = IPv4Address("198.18.0.1")
OPEN_TO_ALL = {"open", "optional", "proof"}
TAKES = {"user": {"token"}, "key": {"key"}, "caller": {"token", "key"}, "local": {"token", "key"}}
TAKES["tenant"] = TAKES["caller"]
"""Which kinds of credential a policy takes."""


@dataclass(frozen=True)
class Route:
    """A line of the table."""

    method: str
    path: str
    policy: str
    scope: str


@dataclass(frozen=True)
class Credential:
    """Headers, what kind they are, and what they allow; ``scopes`` is None for one that is worth nothing."""

    name: str
    kind: str
    scopes: frozenset[str] | None
    headers: dict[str, str]


def routes() -> list[Route]:
    """The guarded routes of HTTP, with ids in their places."""
    lines = [line.split() for line in TABLE.read_text().splitlines()]
    found = [Route(method, path.replace("{", "").replace("}", ""), *rest) for method, path, _, *rest in lines]
    return [route for route in found if route.policy not in OPEN_TO_ALL and route.method != "WS"]


def expected(route: Route, credential: Credential) -> int:
    """What the table says: 204 is the handler's own answer."""
    if credential.scopes is None or credential.kind not in TAKES[route.policy]:
        return 401
    return 204 if {route.scope, Scope.ADMIN} & credential.scopes else 403


class Reached(Probe):
    """Handlers that only note that they were reached, behind no other check than that of the caller."""

    def _watched(self, operation: Operation) -> Operation:
        return super()._watched(dataclasses.replace(operation, body=None, query=None))


@pytest.fixture
async def credentials(house: Any, tenant: Any) -> list[Credential]:
    """A token and a key with each scope alone, tokens of each role, and credentials that are spoilt."""
    admin = Principal("ann", tenant.tenant_id, frozenset(Scope))
    manage = house.services.access.keys

    def token(name: str, scopes: frozenset[str], seconds: float = 300.0) -> Credential:
        text = house.identity.mint("ann", tenant.tenant_id, scopes, timedelta(seconds=seconds))
        headers = {"authorization": f"Bearer {text}"}
        return Credential(name, "token", scopes if seconds > 0 else None, headers)

    async def key(name: str, *scopes: str) -> Credential:
        made = await manage.create(admin, KeyWishes(client_name=name, scopes=scopes))
        return Credential(name, "key", frozenset(scopes), {"x-api-key": made.text})

    revoked = await manage.create(admin, KeyWishes(client_name="revoked", scopes=(Scope.ADMIN,)))
    await manage.revoke(admin, revoked.key.public_id)
    over = await manage.create(admin, KeyWishes(client_name="over", scopes=(Scope.ADMIN,)))
    await manage.rotate(admin, over.key.public_id, timedelta(0))
    everything = frozenset(map(str, Scope))
    forged = token("forged", everything).headers["authorization"][:-4] + "AAAA"
    return [
        *(token(f"token with {scope}", frozenset({str(scope)})) for scope in Scope),
        *[await key(f"key with {scope}", scope) for scope in Scope],
        *(token(f"role {role}", SCOPES_OF[role]) for role in Role),
        token("no scope at all", frozenset()),
        token("expired token", everything, -1.0),
        Credential("forged token", "token", None, {"authorization": forged}),
        Credential("revoked key", "key", None, {"x-api-key": revoked.text}),
        Credential("rotated key", "key", None, {"x-api-key": over.text}),
        Credential("nothing", "token", None, {}),
        Credential("a tenant's name", "token", None, {"x-tenant-id": tenant.tenant_id}),
    ]


async def test_every_route_answers_every_credential_as_the_table_says(
    house: Any, credentials: list[Credential], note_figures: Note
) -> None:
    """G4. A server outside local mode."""
    probe = Reached(house)
    wrong, cells = [], 0
    for route in routes():
        for credential in credentials:
            before = len(probe.hits)
            # Each cell comes from an address of its own: wrong credentials of one address are bounded.
            probe.address = str(FIRST_ADDRESS + cells)
            status = await probe.ask(route.method, route.path, **credential.headers)
            wanted = expected(route, credential)
            is_reached = len(probe.hits) > before
            cells += 1
            if status != wanted or is_reached != (wanted == 204):
                wrong.append((route.method, route.path, credential.name, status, wanted, is_reached))
    assert not wrong, wrong[:20]
    note_figures(matrix_cells=cells, matrix_routes=len(routes()), matrix_credentials=len(credentials))
    assert cells > 5_000


def test_an_administrator_alone_may_do_everything() -> None:
    assert SCOPES_OF[Role.ADMIN] == frozenset(Scope)
    assert Scope.ADMIN not in SCOPES_OF[Role.MEMBER] | SCOPES_OF[Role.VIEWER]
    assert {scope.partition(":")[2] for scope in SCOPES_OF[Role.VIEWER]} == {"read", "check"}
    assert not {Scope.CODE_WRITE, Scope.WORKERS_WRITE} & SCOPES_OF[Role.MEMBER]
