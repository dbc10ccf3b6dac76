"""``Idempotency-Key``: the same request again has the same answer."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from interlock.core.errors import InterlockError, invalid
from interlock.doors.http.plumbing.operation import Call, Handler, Keeping, Reply
from interlock.doors.http.plumbing.replies import NO_STORE, BytesReply, Headers
from interlock.services.access.answers import KeptAnswer
from interlock.services.nouns import Key

REPLAYED: Headers = ((b"idempotency-replayed", b"true"),)

_KEY = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")


def read_key(call: Call[Any, Any]) -> str | None:
    """The key, bare or in quotes; None without the header. Raises INVALID for two, an empty one and one too long."""
    value = call.header("idempotency-key")
    if value is None:
        return None
    if b"idempotency-key" in call.exchange.doubled:
        raise invalid("INVALID_REQUEST", "Idempotency-Key stands there twice; send one", field="Idempotency-Key")
    key = value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
    if not _KEY.fullmatch(key):
        message = "Idempotency-Key must be 1 to 255 printable characters"
        raise invalid("INVALID_REQUEST", message, field="Idempotency-Key")
    return key


def key_of(call: Call[Any, Any]) -> Key | None:
    """The key with its caller, its operation, and a digest of what was asked: path and body, not headers."""
    key = read_key(call)
    if key is None:
        return None
    digest = hashlib.sha256(call.exchange.path.removeprefix(call.prefix).rstrip("/").encode())
    digest.update(b"\0")
    digest.update(call.raw_body)
    scope = f"{_whose(call)} {call.operation.method} {call.operation.route}"
    return Key(scope, key, digest.hexdigest())


def _whose(call: Call[Any, Any]) -> str:
    """Whose key it is: strangers who happen to choose the same one must not meet."""
    claimed = call.operation.claimed
    if claimed is None:
        return call.principal.subject
    return f"{call.principal.subject} {hashlib.sha256(claimed(call.body).encode(errors='surrogatepass')).hexdigest()}"


async def answer(call: Call[Any, Any]) -> Reply:
    """The reply of the call's handler; under an Idempotency-Key that was used before, the answer given then.

    Raises what the handler raises, MISMATCH for a key of another request, and CONFLICT for one that is worked on.
    """
    operation = call.operation
    key = key_of(call) if operation.keeping is not Keeping.NO else None
    if key is None:
        return await operation.handler(call)
    is_repeatable = operation.keeping is Keeping.REPEATABLE
    found = await call.services.access.answers.begin(call.principal, key, is_repeatable=is_repeatable)
    return _again(found) if found is not None else await _kept(call, key, operation.handler)


async def answer_bound(call: Call[Any, Any], handler: Handler) -> Reply:
    """The reply of ``handler`` to a request that names what it makes, which is why it makes that only once.

    An Idempotency-Key is held to this request all the same. Raises what the handler raises, and MISMATCH.
    """
    key = key_of(call)
    if key is None:
        return await handler(call)
    found = await call.services.access.answers.bind(call.principal, key)
    return _again(found) if found is not None else await _kept(call, key, handler)


async def _kept(call: Call[Any, Any], key: Key, handler: Handler) -> Reply:
    answers = call.services.access.answers
    try:
        reply = await handler(call)
    except InterlockError as error:
        await answers.give_up(call.principal, key, error)
        raise
    if isinstance(reply, BytesReply):
        await answers.keep(call.principal, key, KeptAnswer(reply.status, reply.body))
    return reply


def _again(found: KeptAnswer) -> Reply:
    headers = (*NO_STORE, *REPLAYED)
    return BytesReply(found.body, media_type="application/json", status=found.status, headers=headers)
