"""One decision for every policy, credential and mode, whether it comes as a request, a stream or a socket."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from starlette.routing import Router
from starlette.types import ASGIApp

from interlock.core.errors import InterlockError
from interlock.core.principal import Principal, Scope
from interlock.doors.http.plumbing.access_log import RequestLog
from interlock.doors.http.plumbing.authorise import authorise
from interlock.doors.http.plumbing.errors import STATUS, problem
from interlock.doors.http.plumbing.operation import Call, Door, Operation, Policy, Reply
from interlock.doors.http.plumbing.pipeline import Pipeline
from interlock.doors.http.plumbing.replies import JsonReply
from interlock.doors.http.plumbing.routing import RouteTable
from interlock.doors.http.plumbing.security import Guarded
from interlock.doors.http.plumbing.trace import Exchange, Traced
from interlock.services.access.keys import KeyWishes

BASE = "http://127.0.0.1:8000"
DOOR = Door(name="probe", prefixes=("/probe",), envelope=problem)
MCP = Door(name="mcp", prefixes=("/mcp-probe",), envelope=problem)
NEEDED = Scope.EXECUTIONS_READ


async def say_who(call: Call[None, None]) -> Reply:
    principal = call.principal
    return JsonReply({"kind": principal.kind, "tenant": principal.tenant_id, "subject": principal.subject})


def operation(policy: Policy, door: Door = DOOR, *, is_stream: bool = False, **more: Any) -> Operation:
    return Operation(
        method="GET",
        path=f"/{policy}{'/stream' if is_stream else ''}",
        door=door,
        summary="Say who calls",
        handler=say_who,
        policy=policy,
        scope=NEEDED,
        is_stream=is_stream,
        **more,
    )


OPERATIONS = [
    *(operation(policy, is_stream=is_stream) for policy in Policy for is_stream in (False, True)),
    operation(Policy.KEY, MCP, key_in_url="api_key"),
]


def probe_app(house: Any, **settings: Any) -> ASGIApp:
    """The plumbing of a server over the probe operations."""
    context = house.context(**settings)
    pipeline = Pipeline(context)
    router = Router([RouteTable(OPERATIONS, pipeline)], redirect_slashes=False)
    log = RequestLog(None, context.telemetry, is_on=False)  # type: ignore[arg-type]
    return Traced(Guarded(router, context.settings, pipeline), context.clock, context.ids, log, [])


@dataclass(frozen=True)
class Credentials:
    """Headers by the name of a credential, all of one tenant."""

    tenant_id: str
    headers: dict[str, dict[str, str]]
    key: str
    token: str


GOOD_TOKENS, WEAK_TOKENS = ("token",), ("weak token",)
GOOD_KEYS, WEAK_KEYS = ("key as bearer", "key as header"), ("weak key",)
WRONG = (
    "expired token",
    "garbage",
    "basic",
    "empty bearer",
    "revoked key",
    "wrong key",
    "wrong checksum",
    "token as key",
    "bad signature",
    "wrong bearer before good key",
    "wrong key with tenant",
)
NAMES = ("none", "tenant", *GOOD_TOKENS, *WEAK_TOKENS, *GOOD_KEYS, *WEAK_KEYS, *WRONG, "other tenant")


@pytest.fixture
async def credentials(house: Any, tenant: Any) -> Credentials:
    admin = Principal("ann", tenant.tenant_id, frozenset(Scope))
    keys = house.services.access.keys

    async def key(*scopes: str) -> Any:
        return await keys.create(admin, KeyWishes(client_name="probe", scopes=scopes))

    good, weak, revoked = await key(NEEDED), await key(Scope.TOOLS_READ), await key(NEEDED)
    await keys.revoke(admin, revoked.key.public_id)
    token = house.identity.mint("ann", tenant.tenant_id, {NEEDED}, timedelta(minutes=5))
    weak_token = house.identity.mint("ann", tenant.tenant_id, {Scope.TOOLS_READ}, timedelta(minutes=5))
    expired = house.identity.mint("ann", tenant.tenant_id, {NEEDED}, timedelta(seconds=-1))
    other_secret = good.text[:-38] + weak.text[-38:]
    bearer = "authorization"
    signed = {"x-api-key-id": good.key.public_id, "x-api-timestamp": "1", "x-api-nonce": "n" * 16}
    return Credentials(
        tenant.tenant_id,
        {
            "none": {},
            "tenant": {"x-tenant-id": "probe-tenant"},
            "token": {bearer: f"Bearer {token}"},
            "weak token": {bearer: f"Bearer {weak_token}"},
            "key as bearer": {bearer: f"Bearer {good.text}"},
            "key as header": {"x-api-key": good.text, "x-tenant-id": tenant.tenant_id},
            "weak key": {"x-api-key": weak.text},
            "expired token": {bearer: f"Bearer {expired}"},
            "garbage": {bearer: "Bearer not-a-token", "x-tenant-id": "probe-tenant"},
            "basic": {bearer: "Basic YTpi"},
            "empty bearer": {bearer: "Bearer ", "x-api-key": good.text},
            "revoked key": {"x-api-key": revoked.text},
            "wrong key": {"x-api-key": other_secret},
            "wrong checksum": {"x-api-key": good.text[:-1] + ("0" if good.text[-1] != "0" else "1")},
            "token as key": {"x-api-key": token},
            "bad signature": {**signed, "x-api-signature": "v1=00"},
            "wrong bearer before good key": {bearer: "Bearer wrong", "x-api-key": good.text},
            "wrong key with tenant": {"x-api-key": "il_wrong", "x-tenant-id": "probe-tenant"},
            "other tenant": {bearer: f"Bearer {token}", "x-tenant-id": "another"},
        },
        good.text,
        token,
    )


def expected(policy: Policy, name: str, *, is_local: bool) -> int:
    """The written policy table."""
    if policy is Policy.OPEN:
        return 200
    if name in WRONG:
        return 401
    asks_scope = policy not in (Policy.OPTIONAL, Policy.PROOF)
    if name in ("none", "tenant"):
        is_let_in = (
            not asks_scope
            or (is_local and policy is Policy.LOCAL)
            or (is_local and policy is Policy.TENANT and name == "tenant")
        )
        return 200 if is_let_in else 401
    is_key = name in (*GOOD_KEYS, *WEAK_KEYS)
    if (policy is Policy.USER and is_key) or (policy is Policy.KEY and not is_key):
        return 401
    if name == "other tenant":
        return 403
    return 403 if asks_scope and name in (*WEAK_TOKENS, *WEAK_KEYS) else 200


CELLS = list(itertools.product(Policy, NAMES, (True, False)))


async def test_requests_and_streams_are_decided_as_the_table_says(house: Any, credentials: Credentials) -> None:
    """G3."""
    wrong = []
    for is_local in (True, False):
        transport = httpx2.ASGITransport(app=probe_app(house, is_local=is_local))
        async with httpx2.AsyncClient(transport=transport, base_url=BASE) as client:
            for policy, name in itertools.product(Policy, NAMES):
                wanted = expected(policy, name, is_local=is_local)
                for path in (f"/probe/{policy}", f"/probe/{policy}/stream"):
                    answer = await client.get(path, headers=credentials.headers[name])
                    if answer.status_code != wanted:
                        wrong.append((path, name, is_local, answer.status_code, wanted, answer.text[:200]))
    assert not wrong
    assert len(CELLS) > 300


async def test_sockets_are_decided_as_requests_are(house: Any, credentials: Credentials) -> None:
    """G3: but that a signature is not taken on them, so that one is refused whatever it is."""
    wrong = []
    for policy, name, is_local in CELLS:
        context = house.context(is_local=is_local)
        pairs = [(key.encode(), value.encode()) for key, value in credentials.headers[name].items()]
        scope = {"type": "websocket", "path": f"/probe/{policy}/stream", "query_string": b"", "headers": pairs}
        exchange = Exchange(scope, 0.0, house.ids)
        try:
            await authorise(operation(policy, is_stream=True), exchange, scope, context)
            found = 200
        except InterlockError as error:
            found = STATUS[error.kind]
        if found != expected(policy, name, is_local=is_local):
            wrong.append((policy, name, is_local, found))
    assert not wrong


async def ask(app: ASGIApp, path: str, **headers: str) -> httpx2.Response:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url=BASE) as client:
        return await client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})


async def test_who_calls_is_whom_the_credential_names(house: Any, credentials: Credentials) -> None:
    app = probe_app(house)
    for name, kind in (("token", "user"), ("key as bearer", "key"), ("key as header", "key")):
        answer = await ask(app, "/probe/tenant", **credentials.headers[name])
        assert (answer.json()["kind"], answer.json()["tenant"]) == (kind, credentials.tenant_id)
    local = (await ask(app, "/probe/tenant", x_tenant_id="mine")).json()
    assert local == {"kind": "local", "tenant": "mine", "subject": "local"}
    assert (await ask(app, "/probe/local", x_tenant_id="mine")).json()["tenant"] == "default"


@pytest.mark.parametrize("name", ["", " ", "a b", "a/b", "é", "x" * 65, "a\tb", "*", "../x"])
async def test_a_tenant_of_local_mode_has_a_plain_name(house: Any, name: str) -> None:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=probe_app(house)), base_url=BASE) as client:
        headers = httpx2.Headers({"x-tenant-id": name}, encoding="utf-8")
        assert (await client.get("/probe/tenant", headers=headers)).status_code == 401


@pytest.mark.parametrize("name", ["authorization", "x-api-key", "x-tenant-id"])
async def test_a_header_that_says_who_calls_stands_there_once(house: Any, credentials: Credentials, name: str) -> None:
    values = {"authorization": f"Bearer {credentials.token}", "x-api-key": credentials.key, "x-tenant-id": "t"}
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=probe_app(house)), base_url=BASE) as client:
        answers = [await client.get("/probe/tenant", headers=[(name, values[name])] * count) for count in (1, 2)]
    assert [answer.status_code for answer in answers] == [200, 401]


async def test_a_token_in_an_address_opens_streams_only(house: Any, credentials: Credentials) -> None:
    app = probe_app(house, is_local=False)
    for name in ("access_token", "token"):
        assert (await ask(app, f"/probe/caller/stream?{name}={credentials.token}")).status_code == 200
        assert (await ask(app, f"/probe/caller?{name}={credentials.token}")).status_code == 401
    long = house.identity.mint("ann", credentials.tenant_id, {NEEDED}, timedelta(hours=2))
    assert (await ask(app, f"/probe/caller/stream?access_token={long}")).status_code == 401


@pytest.mark.parametrize("is_allowed", [True, False])
async def test_a_key_in_an_address_is_taken_only_where_a_door_and_the_settings_allow_it(
    house: Any, credentials: Credentials, is_allowed: bool
) -> None:
    app = probe_app(house, is_local=False, allow_key_in_url=is_allowed)
    assert (await ask(app, f"/mcp-probe/key?api_key={credentials.key}")).status_code == (200 if is_allowed else 401)
    for path in ("/probe/key?api_key=", "/probe/key/stream?token=", "/probe/key/stream?access_token="):
        assert (await ask(app, path + credentials.key)).status_code == 401


async def test_the_well_known_key_opens_the_tools_of_a_local_server_and_nothing_else(house: Any) -> None:
    local, strict = probe_app(house), probe_app(house, is_local=False)
    assert (await ask(local, "/mcp-probe/key", x_api_key="dev_default")).status_code == 403  # it lacks this scope
    assert (await ask(local, "/probe/key", x_api_key="dev_default")).status_code == 401
    assert (await ask(local, "/probe/tenant", x_api_key="dev_default", x_tenant_id="t")).status_code == 401
    assert (await ask(strict, "/mcp-probe/key", x_api_key="dev_default")).status_code == 401
