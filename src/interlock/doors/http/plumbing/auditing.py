"""What of a call goes into the audit log: every change, and every call that was refused for who its caller is."""

from __future__ import annotations

from collections.abc import Mapping

from interlock.core.audit import AuditEntry, Outcome
from interlock.doors.http.plumbing.admission import QUEUE_FULL
from interlock.doors.http.plumbing.context import Context
from interlock.doors.http.plumbing.operation import ANONYMOUS, Operation
from interlock.doors.http.plumbing.trace import Exchange

_LOOKING = frozenset({"GET", "HEAD", "OPTIONS", "WS"})
_REFUSED_ACCESS = frozenset({401, 403, 429})
_MAX_TEXT = 256


def note(
    operation: Operation,
    exchange: Exchange,
    context: Context,
    path: Mapping[str, str],
    *,
    status: int,
    code: str = "",
) -> None:
    """Note how a call ended, if it changes something or was refused access. Never waits, never raises.

    ``status`` is the HTTP status, also of what a socket was refused for; 0 for a caller who left before the answer.
    """
    # A full queue says nothing of who may do what, and refuses by the thousand when there is too much to do already.
    if code == QUEUE_FULL or (_is_looking(operation) and status not in _REFUSED_ACCESS):
        return
    context.services.access.audit.note(_entry(operation, exchange, context, path, status, code))


async def record(
    operation: Operation, exchange: Exchange, context: Context, path: Mapping[str, str], *, status: int, code: str
) -> bool:
    """Store what a call has changed before its caller is answered; whether it is stored, or kept to be. Never raises.

    A call that looks, or that was refused, changes nothing, and who started or moved an execution stands in its log
    already: ``note`` is for those.
    """
    if operation.is_logged or _is_looking(operation) or _outcome(status, code) is Outcome.REFUSED:
        return False
    await context.services.access.audit.record(_entry(operation, exchange, context, path, status, code))
    return True


def note_turned_away(exchange: Exchange, context: Context, *, status: int, code: str) -> None:
    """Note a request that was refused before anybody looked which operation it is for. Never waits, never raises."""
    action = f"{exchange.method[:16]} *"
    entry = _told(exchange, context, action=action, door="", target=exchange.path, status=status, code=code)
    context.services.access.audit.note(entry)


def _is_looking(operation: Operation) -> bool:
    return operation.method in _LOOKING and not operation.is_change


def _entry(
    operation: Operation, exchange: Exchange, context: Context, path: Mapping[str, str], status: int, code: str
) -> AuditEntry:
    return _told(
        exchange,
        context,
        action=f"{operation.method} {operation.route}",
        door=operation.door.name,
        target=" ".join(path.values()) or exchange.target,
        status=status,
        code=code,
    )


def _told(
    exchange: Exchange, context: Context, *, action: str, door: str, target: str, status: int, code: str
) -> AuditEntry:
    principal = exchange.principal or ANONYMOUS
    return AuditEntry(
        audit_id=context.ids.new(),
        tenant_id=_text(principal.tenant_id),
        at=context.clock.now(),
        subject=_text(principal.subject),
        kind=principal.kind,
        key_id=principal.key_id,
        action=action,
        target=_text(target),
        outcome=_outcome(status, code),
        status=status,
        code=code,
        door=door,
        client=_text(exchange.client),
        user_agent=_text(exchange.headers.get(b"user-agent", b"").decode("latin-1")),
        trace_id=exchange.trace_id,
        request_id=exchange.request_id,
        detail=_text(exchange.detail),
    )


def _outcome(status: int, code: str) -> Outcome:
    if status >= 500:
        return Outcome.FAILED
    return Outcome.REFUSED if status >= 400 or code else Outcome.DONE


def _text(value: str) -> str:
    """Text that the database can hold, cut."""
    if len(value) <= _MAX_TEXT and value.isascii() and "\0" not in value:
        return value
    return value[:_MAX_TEXT].replace("\0", "").encode(errors="replace").decode()
