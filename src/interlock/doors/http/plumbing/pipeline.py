"""From a matched request to its answer, in this order: credential, scope, size and syntax, schema, handler."""

from __future__ import annotations

from typing import Any

import structlog
from starlette.types import Receive, Scope, Send

from interlock.core.errors import InterlockError
from interlock.core.principal import Principal
from interlock.doors.http.plumbing.context import Context
from interlock.doors.http.plumbing.credentials import (
    bearer_of,
    missing_credential,
    require_short_life,
    token_in_url,
)
from interlock.doors.http.plumbing.errors import problem, refuse, status_of, unexpected
from interlock.doors.http.plumbing.operation import ANONYMOUS, Call, Door, Operation, Policy, Refusal, Reply
from interlock.doors.http.plumbing.receive import CallerLeft, decode_body, decode_query, read_body
from interlock.doors.http.plumbing.replies import Headers
from interlock.doors.http.plumbing.trace import EXCHANGE, Exchange
from interlock.kit.instants import rfc3339

NO_DOOR = Door(name="none", prefixes=("",), envelope=problem, media_type="application/problem+json")
"""Answers for paths that no door owns."""

_log = structlog.get_logger("interlock.http")


class Pipeline:
    """Answers requests of one server. Whatever goes wrong, the caller gets its door's envelope."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def run(self, operation: Operation, path: dict[str, str], scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request of ``operation``."""
        exchange: Exchange = scope[EXCHANGE]
        exchange.route = operation.route
        exchange.door = operation.door.name
        try:
            reply = await operation.handler(await self._call(operation, path, exchange, scope, receive))
        except CallerLeft:
            return
        except InterlockError as error:
            reply = self._refused(error, operation.door, exchange)
        except Exception:  # noqa: BLE001 - the last wall: logged with its traceback, told as a code and a trace id
            _log.exception("error", route=exchange.route, method=exchange.method)
            reply = self._refused(unexpected(), operation.door, exchange)
        await self._send(reply, exchange, scope, receive, send)

    async def refuse(
        self, error: InterlockError, status: int, headers: Headers, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer a request that belongs to no operation."""
        exchange: Exchange = scope[EXCHANGE]
        await refuse(self._refusal(error, status, exchange), NO_DOOR, headers)(scope, receive, send)

    async def _send(self, reply: Reply, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await reply(scope, receive, send)
        except Exception:  # noqa: BLE001 - logged with its traceback
            # The answer has begun, so its status can no longer say it; the connection is cut instead.
            _log.exception("error", route=exchange.route, method=exchange.method)

    async def _call(
        self, operation: Operation, path: dict[str, str], exchange: Exchange, scope: Scope, receive: Receive
    ) -> Call[Any, Any]:
        principal = ANONYMOUS
        if operation.policy is not Policy.OPEN:
            principal = await self._principal(operation, exchange, scope)
        raw = b""
        if operation.body is not None:
            raw = await read_body(receive, exchange.headers, self._context.settings.max_body)
        return Call(
            operation,
            self._context,
            exchange,
            scope,
            principal,
            path,
            decode_query(scope["query_string"], operation),
            decode_body(raw, operation, self._context.settings.max_body, principal),
            raw,
        )

    async def _principal(self, operation: Operation, exchange: Exchange, scope: Scope) -> Principal:
        try:
            principal = await self._authenticate(operation, exchange, scope)
        except InterlockError as error:
            self._context.telemetry.auth_failed(operation.door.name, str(error.details.get("reason", error.code)))
            raise
        exchange.principal = principal
        if principal is None:
            return ANONYMOUS
        if operation.scope is not None and operation.policy is not Policy.OPTIONAL:
            principal.require(operation.scope)
        return principal

    async def _authenticate(self, operation: Operation, exchange: Exchange, scope: Scope) -> Principal | None:
        """The caller, or None where the operation is open and nobody says who they are."""
        identity = self._context.services.identity
        token = bearer_of(exchange.headers)
        if token is not None:
            exchange.credential = token
            return await identity.authenticate(token)
        if operation.is_stream and (token := token_in_url(scope["query_string"])) is not None:
            exchange.credential = token
            principal = await identity.authenticate(token)
            require_short_life(token, self._context.clock)
            return principal
        is_open = operation.policy is Policy.OPTIONAL or (
            operation.policy is Policy.LOCAL and self._context.settings.is_local
        )
        if not is_open:
            raise missing_credential()
        return None

    def _refused(self, error: InterlockError, door: Door, exchange: Exchange) -> Reply:
        return refuse(self._refusal(error, status_of(error, door), exchange), door)

    def _refusal(self, error: InterlockError, status: int, exchange: Exchange) -> Refusal:
        return Refusal(
            error=error,
            status=status,
            path=exchange.route or exchange.path[:256],
            method=exchange.method,
            request_id=exchange.request_id,
            trace_id=exchange.trace_id,
            timestamp=rfc3339(self._context.clock.now()),
        )
