"""Who may do what: the one place where an operation's policy is obeyed, for HTTP, SSE and WebSocket alike."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial

import msgspec
from starlette.types import Scope

from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.principal import LOCAL_TENANT, Principal, Tier
from interlock.core.principal import Scope as Permission
from interlock.core.signed_request import SignedRequest
from interlock.doors.http.plumbing.context import Context
from interlock.doors.http.plumbing.credentials import (
    REQUIRED_KEY,
    bearer_of,
    key_of_header,
    missing_credential,
    missing_key,
    presented_in_url,
    require_short_life,
    unauthenticated,
)
from interlock.doors.http.plumbing.operation import ANONYMOUS, Operation, Policy
from interlock.doors.http.plumbing.trace import Exchange
from interlock.services.access.authenticate import ReadBody
from interlock.services.access.refusals import KnownCallerRefused

_TENANT_HEADER = b"x-tenant-id"
_USER_HEADER = b"x-user-id"
_USER = re.compile(rb"[A-Za-z0-9_.@:+-]{1,128}")
_SIGNED = b"x-api-key-id"
_ONCE = frozenset({b"authorization", b"x-api-key", _SIGNED, b"x-api-signature", _TENANT_HEADER})
"""Headers that say who calls: twice, they would say two things to two readers."""
_TOOLS_DOOR = "mcp"
_LOCAL_KEY = "dev_default"
_LOCAL_KEY_HOLDER = Principal(
    subject="key:dev_default",
    tenant_id=LOCAL_TENANT,
    scopes=frozenset({Permission.TOOLS_READ, Permission.TOOLS_EXECUTE, Permission.HEALTH_CHECK}),
    kind="key",
    tier=Tier.STANDARD,
)
"""Who calls the tools door of a local server with the key that everybody knows."""

_MAY_BE_ANONYMOUS = frozenset({Policy.OPTIONAL, Policy.PROOF})
"""Whoever may come without a credential needs no scope with one."""


async def authorise(
    operation: Operation,
    exchange: Exchange,
    scope: Scope,
    context: Context,
    *,
    read_body: ReadBody | None = None,
    told_token: str | None = None,
    told_tenant: str | None = None,
) -> Principal:
    """The caller of ``operation``, who holds its scope. ``ANONYMOUS`` where the policy lets nobody in particular in.

    The order of credentials is ``Authorization``, ``X-API-Key``, a signature, the address; the first that is present
    decides, and one that is not valid is refused, never passed over. ``exchange`` and ``scope`` are those of an HTTP
    request or a WebSocket handshake; ``exchange.credential`` is set, and ``exchange.principal`` to whoever a true
    credential names, also if that is refused then.

    ``read_body`` reads the whole body as it came, which a signature covers, once a signer is known; without it
    (WebSockets) signatures are refused.
    ``told_token`` is a token from a socket's first message, looked at last. ``told_tenant`` is the tenant that a
    socket's address names for local mode, in place of ``X-Tenant-Id``.

    Raises UNAUTHENTICATED (401), DENIED (403: no scope, or another tenant than the credential's), LIMITED (too many
    wrong credentials from this address, see Guesses), and
    UNAVAILABLE if the credential cannot be checked now.
    """
    exchange.client = context.limits.client_of(scope)  # from here on logs and the audit name who is behind a proxy
    if operation.policy is Policy.OPEN:
        return ANONYMOUS
    exchange.principal = None
    try:
        principal = await _identify(operation, exchange, scope, context, read_body, told_token, told_tenant)
        if principal.kind != "anonymous":
            context.services.access.gate.admit(principal)
    except InterlockError as error:
        if isinstance(error, KnownCallerRefused):
            exchange.principal = error.principal
        context.telemetry.auth_failed(operation.door.name, str(error.details.get("reason", error.code)))
        raise
    if principal.kind == "anonymous":
        return principal
    if operation.scope is not None and operation.policy not in _MAY_BE_ANONYMOUS:
        principal.require(operation.scope)
    return principal


async def _identify(
    operation: Operation,
    exchange: Exchange,
    scope: Scope,
    context: Context,
    read_body: ReadBody | None,
    told_token: str | None,
    told_tenant: str | None,
) -> Principal:
    principal = await _present(operation, exchange, scope, context, read_body, told_token)
    if principal is not None:
        exchange.principal = principal
        _require_kind(operation, principal)
        _refuse_other_tenant(exchange.headers, principal)
        return principal
    principal = await _without_credential(operation, exchange, context, told_tenant)
    if principal.kind != "anonymous":
        exchange.principal = principal
    return principal


async def _present(
    operation: Operation,
    exchange: Exchange,
    scope: Scope,
    context: Context,
    read_body: ReadBody | None,
    told_token: str | None,
) -> Principal | None:
    """The principal of the credential that is present; None if there is none."""
    if len(exchange.headers) != len(scope["headers"]):
        _refuse_doubled(scope["headers"])
    token = bearer_of(exchange.headers) or key_of_header(exchange.headers)
    if token is not None:
        return await _by_token(token, operation, exchange, context)
    if _SIGNED in exchange.headers:
        return await _by_signature(exchange, scope, context, read_body)
    found = presented_in_url(scope["query_string"], operation, allows_key=context.settings.allow_key_in_url)
    if found is None:
        return await _by_token(told_token, operation, exchange, context) if told_token is not None else None
    if found.is_ticket:
        redeem = partial(context.services.access.tickets.redeem, found.text, exchange.path)
        ticket = await context.limits.guesses.check("tickets", exchange.client, redeem)
        exchange.ends_at = None if ticket.ends_at is None else ticket.ends_at.timestamp()
        exchange.credential = ticket.credential  # the stream is checked by what the ticket was asked for with
        return ticket.principal
    if context.services.access.key_identity.is_key(found.text) or _is_local_key(found.text, operation, context):
        if not found.may_be_key:
            raise unauthenticated("An API key is not taken from the address; send it as a header", "invalid_token")
        return await _by_token(found.text, operation, exchange, context)
    if not found.may_be_token:
        raise unauthenticated("The API key is not valid here", "invalid_api_key")
    principal = await _by_token(found.text, operation, exchange, context)
    require_short_life(found.text, context.clock)
    return principal


def _refuse_doubled(headers: Iterable[tuple[bytes, bytes]]) -> None:
    names = [name for name, _ in headers if name in _ONCE]
    if len(names) != len(set(names)):
        raise unauthenticated("A header that says who calls stands there twice", "invalid_token")


async def _by_token(token: str, operation: Operation, exchange: Exchange, context: Context) -> Principal:
    if _is_local_key(token, operation, context):
        return _LOCAL_KEY_HOLDER
    exchange.credential = token
    authenticate = partial(context.services.identity.authenticate, token)
    keys = context.services.access.key_identity
    if not keys.is_key(token):
        return await (_by_no_key(authenticate) if operation.policy is Policy.KEY else authenticate())
    return await context.limits.guesses.check("keys", exchange.client, authenticate, partial(keys.is_known, token))


async def _by_no_key(authenticate: Callable[[], Awaitable[Principal]]) -> Principal:
    """Whoever a token names, where only keys are taken: a wrong one may be a mistyped key."""
    try:
        return await authenticate()
    except InterlockError as error:
        if error.kind is not ErrorKind.UNAUTHENTICATED or isinstance(error, KnownCallerRefused):
            raise
        raise unauthenticated("The API key is not valid here", "invalid_api_key", REQUIRED_KEY) from error


def _is_local_key(token: str, operation: Operation, context: Context) -> bool:
    return token == _LOCAL_KEY and context.settings.is_local and operation.door.name == _TOOLS_DOOR


async def _by_signature(exchange: Exchange, scope: Scope, context: Context, read_body: ReadBody | None) -> Principal:
    if read_body is None:
        raise unauthenticated("Signed requests are not taken here; send the key or a ticket", "invalid_signature")
    texts = [
        exchange.headers.get(name, b"").decode("latin-1")
        for name in (_SIGNED, b"x-api-timestamp", b"x-api-nonce", b"x-api-signature")
    ]
    request = SignedRequest(
        public_id=texts[0],
        timestamp=texts[1],
        nonce=texts[2],
        signature=texts[3],
        method=exchange.method,
        raw_path=scope.get("raw_path") or exchange.path.encode(),
        raw_query=scope["query_string"],
    )
    keys = context.services.access.key_identity
    return await context.limits.guesses.check(
        "signatures",
        exchange.client,
        partial(keys.authenticate_signed, request, read_body),
        partial(keys.is_known_signer, request.public_id),
    )


def _require_kind(operation: Operation, principal: Principal) -> None:
    """A person's door takes no key, a program's door takes nothing else."""
    if operation.policy is Policy.USER and principal.kind == "key":
        raise unauthenticated("This call needs a person's token; API keys are not taken here", "invalid_token")
    if operation.policy is Policy.KEY and principal.kind != "key":
        raise unauthenticated("This call needs an API key", "invalid_api_key", REQUIRED_KEY)


def _refuse_other_tenant(headers: Mapping[bytes, bytes], principal: Principal) -> None:
    """The tenant comes from the credential; a header may repeat it and never change it."""
    named = headers.get(_TENANT_HEADER)
    if named is not None and named.decode("latin-1") != principal.tenant_id:
        message = "The tenant comes from the credential; leave X-Tenant-Id out"
        raise InterlockError(ErrorKind.DENIED, "TENANT_MISMATCH", message, details={"field": "X-Tenant-Id"})


def _named(local: Principal, user: bytes | None) -> Principal:
    """The local principal with the name that is written down as who did it; what cannot be a name is left out."""
    if user is None or not _USER.fullmatch(user):
        return local
    return msgspec.structs.replace(local, actor=user.decode())


async def _without_credential(
    operation: Operation, exchange: Exchange, context: Context, told_tenant: str | None
) -> Principal:
    """The local principal, or nobody in particular, where the policy lets them in. Raises UNAUTHENTICATED elsewhere."""
    tenants = context.services.access.tenants
    if context.settings.is_local:
        if operation.policy is Policy.LOCAL:
            return await tenants.principal()
        named = exchange.headers.get(_TENANT_HEADER)
        tenant_id = named.decode("latin-1") if named is not None else told_tenant
        if operation.policy in (Policy.TENANT, Policy.PROOF) and tenant_id is not None:
            return _named(await tenants.principal(tenant_id), exchange.headers.get(_USER_HEADER))
    if operation.policy in _MAY_BE_ANONYMOUS:
        return ANONYMOUS
    if operation.policy is Policy.TENANT and context.settings.is_local:
        raise unauthenticated("Name your tenant: send X-Tenant-Id", "missing_token")
    raise missing_key() if operation.policy is Policy.KEY else missing_credential()
