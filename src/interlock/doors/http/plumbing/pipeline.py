"""From a matched request to its answer: credential, scope, limits, body, turn, schema, handler; then the audit."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from starlette.types import Receive, Scope, Send

from interlock.core.errors import ErrorKind, InterlockError, not_found
from interlock.core.principal import Principal
from interlock.doors.http.plumbing import auditing
from interlock.doors.http.plumbing.admission import QUEUE_FULL
from interlock.doors.http.plumbing.authorise import authorise
from interlock.doors.http.plumbing.context import Context
from interlock.doors.http.plumbing.denial import denying
from interlock.doors.http.plumbing.errors import CLOSE, NO_DOOR, refuse, status_of, stopping, unexpected
from interlock.doors.http.plumbing.idempotency import answer
from interlock.doors.http.plumbing.operation import Call, Door, Operation, Refusal, Reply
from interlock.doors.http.plumbing.receive import (
    CallerLeft,
    decode_body,
    decode_query,
    read_body,
    refuse_encoded,
    refuse_other_media,
)
from interlock.doors.http.plumbing.replies import WHOLE, Headers
from interlock.doors.http.plumbing.trace import EXCHANGE, Exchange
from interlock.kit.instants import rfc3339
from interlock.kit.turn import Turn

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
        is_noted = False
        try:
            with Turn() as turn:
                try:
                    reply = await self._reply(operation, path, exchange, scope, receive, turn)
                except CallerLeft:
                    is_noted = True  # there was no whole request
                    return
                except InterlockError as error:
                    exchange.had_no_room = self._is_for_want_of_room(error, turn)
                    self._context.doorstep.remember(operation, exchange, scope, error)
                    reply = self._refused(error, operation.door, exchange)
                except Exception:  # noqa: BLE001 - the last wall: logged with its traceback, told as a code and an id
                    _log.exception("error", route=exchange.route, method=exchange.method)
                    reply = self._refused(unexpected(), operation.door, exchange)
                is_noted = isinstance(reply, WHOLE) and await auditing.record(
                    operation, exchange, self._context, path, status=reply.status, code=exchange.code
                )
            await self._send(reply, exchange, scope, receive, send)
            await self._context.limits.settle(exchange)
        except asyncio.CancelledError:
            if exchange.status or not self._context.drain.has_begun:
                raise
            await self._refused(stopping(), operation.door, exchange, CLOSE)(scope, receive, send)
        finally:
            if not is_noted:
                auditing.note(operation, exchange, self._context, path, status=exchange.status, code=exchange.code)

    async def refuse(
        self,
        error: InterlockError,
        status: int,
        headers: Headers,
        scope: Scope,
        receive: Receive,
        send: Send,
        door: Door | None = None,
    ) -> None:
        """Answer a request that belongs to no operation, in the envelope of ``door`` if its paths are known.

        It may be the handshake of a WebSocket, which is refused so.
        """
        exchange: Exchange = scope[EXCHANGE]
        exchange.code = error.code
        if scope["type"] == "websocket":
            scope, send = {**scope, "method": exchange.method}, denying(scope, send)
        await refuse(self._refusal(error, status, exchange), door or NO_DOOR, headers)(scope, receive, send)

    async def refuse_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the handshake of a WebSocket at a path where none is."""
        error = not_found("NOT_FOUND", "There is no WebSocket at this path")
        await self.refuse(error, 404, (), scope, receive, send)

    async def turn_away(self, error: InterlockError, status: int, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request for who sends it, before its operation is looked for; the audit log has it."""
        await self.refuse(error, status, (), scope, receive, send)
        auditing.note_turned_away(scope[EXCHANGE], self._context, status=status, code=error.code)

    async def _send(self, reply: Reply, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await reply(scope, receive, send)
        except Exception:  # noqa: BLE001 - logged with its traceback
            # The answer has begun, so its status can no longer say it; the connection is cut instead.
            _log.exception("error", route=exchange.route, method=exchange.method)

    async def _reply(
        self,
        operation: Operation,
        path: dict[str, str],
        exchange: Exchange,
        scope: Scope,
        receive: Receive,
        turn: Turn,
    ) -> Reply:
        """What the handler answers; ``turn`` ends its turn. What is refused is refused as cheaply as it can be."""
        context = self._context
        body = _Body(receive, exchange.headers, operation.max_body or context.settings.max_body)
        principal = await authorise(operation, exchange, scope, context, read_body=body.raw)
        asker = context.limits.asker(operation, scope, principal)
        context.admission.check(asker)
        await context.limits.admit(operation, scope, principal)
        raw = await body.read() if operation.body is not None else b""
        turn.begin(await context.admission.enter(asker))
        return await answer(self._call(operation, path, exchange, scope, principal, raw))

    def _call(
        self,
        operation: Operation,
        path: dict[str, str],
        exchange: Exchange,
        scope: Scope,
        principal: Principal,
        raw: bytes,
    ) -> Call[Any, Any]:
        return Call(
            operation,
            self._context,
            exchange,
            scope,
            principal,
            path,
            decode_query(scope["query_string"], operation),
            decode_body(raw, operation, operation.max_body or self._context.settings.max_body, principal),
            raw,
        )

    def _is_for_want_of_room(self, error: InterlockError, turn: Turn) -> bool:
        """Whether a counted request is refused for nothing of its own: a queue is full, or the server stops."""
        is_kept_out = not turn.has_begun or self._context.drain.has_begun
        return error.code == QUEUE_FULL or (is_kept_out and error.kind is ErrorKind.UNAVAILABLE)

    def _refused(self, error: InterlockError, door: Door, exchange: Exchange, headers: Headers = ()) -> Reply:
        exchange.code = error.code
        return refuse(self._refusal(error, status_of(error, door), exchange), door, headers)

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


class _Body:
    """The body of one request, read when first asked for: a signature covers it, so that it may be needed early."""

    __slots__ = ("_bytes", "_headers", "_limit", "_receive")

    def __init__(self, receive: Receive, headers: dict[bytes, bytes], limit: int) -> None:
        self._receive = receive
        self._headers = headers
        self._limit = limit
        self._bytes: bytes | None = None

    async def raw(self) -> bytes:
        """As it came, whatever it is."""
        if self._bytes is None:
            self._bytes = await read_body(self._receive, self._headers, self._limit)
        return self._bytes

    async def read(self) -> bytes:
        """What says that it is JSON. Raises UNSUPPORTED_MEDIA, and what ``read_body`` raises."""
        refuse_encoded(self._headers)
        raw = await self.raw()
        refuse_other_media(self._headers, raw)
        return raw
