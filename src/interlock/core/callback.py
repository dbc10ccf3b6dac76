"""Callbacks: what a webhook may answer, at once or later, and the token that lets it answer later."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Any
from uuid import UUID

import msgspec

from interlock.core.errors import rule_broken

TARGET = "_webhook"
"""The parameter of a webhook node that says whom to call; all others are sent. Only its author can set it."""
SUCCESS, ERROR, NEED_USER_INPUT = "success", "error", "need_user_input"
STATUSES = (SUCCESS, ERROR, NEED_USER_INPUT)
_RESERVED = ("_", "signal:")
_MAX_KEY = 256  # characters of a key of the blackboard


class NodeResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a webhook answers. ``artifacts`` go to the blackboard, ``next_events`` are for its flow, best first."""

    status: str = SUCCESS
    result: Any = None
    ui_schema: Any = None
    artifacts: dict[str, Any] = {}
    next_events: list[str] = []
    error_message: str = ""

    @property
    def digest(self) -> str:
        """The same for equal answers, whatever the order of their keys."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()


class Place(msgspec.Struct, frozen=True):
    """The attempt a token was made for."""

    task_id: str
    attempt: int


def is_node_result(value: Any) -> bool:
    """Whether a JSON value says itself that it is the result of a node."""
    return isinstance(value, dict) and value.get("status") in STATUSES


def read_node_result(value: dict[str, Any]) -> NodeResult:
    """A result from JSON; null counts as absent, other fields are left alone. Raises RULE with the field that is wrong.

    Keys of the blackboard that belong to the server cannot be set.
    """
    known = {name: value[name] for name in NodeResult.__struct_fields__ if value.get(name) is not None}
    try:
        answer = msgspec.convert(known, NodeResult)
    except msgspec.ValidationError as error:
        raise rule_broken("VALIDATION_ERROR", f"This is no result of a node: {error}") from error
    if answer.status not in STATUSES:
        raise rule_broken("VALIDATION_ERROR", f"status must be one of {', '.join(STATUSES)}", field="status")
    for key in answer.artifacts:
        if not key or len(key) > _MAX_KEY or key.startswith(_RESERVED):
            message = f"The artifact {key[:64]!r} has a name that is empty, too long or the server's own"
            raise rule_broken("VALIDATION_ERROR", message, field="artifacts")
    return answer


def make_token(key: bytes, tenant_id: str, execution_id: UUID, place: Place) -> str:
    """The token of one attempt: it says which one, and ``key`` proves it. No copy needs to be kept."""
    text = f"{place.attempt}:{place.task_id}".encode()
    return f"{_base64(text)}.{_base64(_proof(key, tenant_id, execution_id, text))}"


def read_token(key: bytes, tenant_id: str, execution_id: UUID, token: str) -> Place | None:
    """The attempt that a token was made for; None for one that was not made with ``key`` for this execution."""
    text, _, proof = token.partition(".")
    told, given = _bytes(text), _bytes(proof)
    if not hmac.compare_digest(given, _proof(key, tenant_id, execution_id, told)):
        return None
    attempt, _, task_id = told.decode().partition(":")
    return Place(task_id, int(attempt))


def _proof(key: bytes, tenant_id: str, execution_id: UUID, text: bytes) -> bytes:
    tenant = tenant_id.encode()
    signed = b"interlock/callback/" + len(tenant).to_bytes(4, "big") + tenant + execution_id.bytes + text
    return hmac.digest(key, signed, hashlib.sha256)


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    """The bytes of base64url text; what is none has no bytes. Only the one spelling of them is taken."""
    try:
        value = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
    return value if _base64(value) == text else b""
