"""Executions by any of their ids: the plain one, that of another door, and one that a client of a session chose."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import wraps
from typing import Any
from uuid import UUID

from interlock.core.errors import ErrorKind, InterlockError
from interlock.doors.http.plumbing.operation import Call, Handler, Reply


def by_any_id(handler: Handler) -> Handler:
    """Lets a handler that reads ``execution_id`` in its path be called by what else the execution is called.

    It is called once more only if it raises NOT_FOUND, so before that it must not have done anything.
    """

    @wraps(handler)
    async def called(call: Call[Any, Any]) -> Reply:
        text = call.path["execution_id"]
        try:
            return await _by_each(handler, call, text)
        finally:
            call.path["execution_id"] = text  # the audit log tells what was written

    return called


async def _by_each(handler: Handler, call: Call[Any, Any], text: str) -> Reply:
    refused: InterlockError | None = None
    async for execution_id in _ids(call, text):
        call.path["execution_id"] = str(execution_id)
        try:
            return await handler(call)
        except InterlockError as error:
            if error.kind is not ErrorKind.NOT_FOUND:
                raise
            refused = refused or _as_written(error, str(execution_id), text)
    if refused is not None:
        raise refused
    return await handler(call)


async def _ids(call: Call[Any, Any], text: str) -> AsyncIterator[UUID]:
    """A plain id as it is; only if that is none, or none that is known, the names of sessions are looked through."""
    plain = _plain_id(text)
    if plain is not None:
        yield plain
    for found in await call.services.find_session.ids(call.principal, text):
        if found != plain:
            yield found


def _plain_id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _as_written(error: InterlockError, execution_id: str, text: str) -> InterlockError:
    """The refusal with the id that the caller knows."""
    return InterlockError(error.kind, error.code, error.message.replace(execution_id, text[:64]), details=error.details)
