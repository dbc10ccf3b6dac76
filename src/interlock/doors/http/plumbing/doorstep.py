"""Refusals that cost next to nothing: what would be refused again as it was a moment ago is refused before it begins.

When more comes than can be done, most of the work would else be saying so. Nothing is refused here that the pipeline
would take: the lines are looked at as they are now, and a limit only until the moment at which its window opens.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING

from starlette.types import Scope

from interlock.core.errors import ErrorKind, InterlockError
from interlock.doors.http.plumbing.limits import Limited
from interlock.doors.http.plumbing.operation import Operation, Policy
from interlock.doors.http.plumbing.repeats import Repeats
from interlock.doors.http.plumbing.tally import Tally
from interlock.doors.http.plumbing.trace import Exchange

if TYPE_CHECKING:
    from interlock.doors.http.plumbing.context import Context
    from interlock.doors.http.plumbing.template import Templates, Written

REMEMBERED_SECONDS = 1.0
"""So long a refusal is remembered; then one request is looked at as any other, its credential too."""
_MOST = 4096

_WHO = frozenset({b"host", b"authorization", b"x-api-key", b"x-tenant-id"})
_CREDENTIALS = frozenset({b"authorization", b"x-api-key"})
_CLOSER_LOOK = frozenset({b"origin", b"x-api-key-id"})
"""Pages get headers of their own, and a signature covers the body."""
_KEY = b"idempotency-key"
"""What was started before is told again, whatever waits."""
_FULL = "full"
_CROWDS = frozenset({ErrorKind.LIMITED, ErrorKind.UNAVAILABLE})

RawHeaders = Sequence[tuple[bytes, bytes]]
Mark = tuple[str, str, str, bytes]
FindOperation = Callable[[str, str], Operation | None]
MethodsAt = Callable[[str], Sequence[str]]


class _Known:
    """A refused caller of an operation: where it stands in line, and its limits if they are what refused it."""

    __slots__ = ("asker", "at", "closed_until", "given_back", "limited", "operation", "state", "templates", "tenant_id")

    def __init__(
        self,
        operation: Operation,
        asker: str | None,
        tenant_id: str | None,
        at: float,
        limited: Limited | None,
        closed: float,
        state: str,
        given_back: int,
    ) -> None:
        self.operation = operation
        self.asker = asker
        self.tenant_id = tenant_id  # whose executions it starts
        self.at = at
        self.limited = limited
        self.closed_until = at + closed
        self.state = state  # of the store of limits
        self.given_back = given_back
        self.templates: dict[str, Written] = {}  # by what they say

    @property
    def is_anybody(self) -> bool:
        """Whether nobody has looked who calls, so that there is nothing to look at again."""
        return self.asker is None and self.limited is None


class Doorstep:
    """Remembers who was refused what, for a second. Until it is opened it remembers nothing and refuses nobody."""

    def __init__(self) -> None:
        self._known: OrderedDict[Mark, _Known] = OrderedDict()  # oldest first
        self._anybodies: dict[tuple[str, str, str], _Known] = {}
        self._repeats: Repeats[_Known] = Repeats()
        self._is_open = False
        self.methods_at: MethodsAt = lambda path: ()
        """What can be asked for at a path; nothing where no operation is."""

    def open(
        self, context: Context, templates: Templates, find: FindOperation, methods_at: MethodsAt, tally: Tally
    ) -> None:
        """Begin. ``find`` gives the operation of a method and path, ``methods_at`` all methods of a path."""
        self.methods_at = methods_at
        self._context = context
        self._templates = templates
        self._find_operation = find
        self._tally = tally
        self._is_open = True

    def remember(self, operation: Operation, exchange: Exchange, scope: Scope, error: InterlockError) -> None:
        """Note a request that the pipeline has refused, if the next one like it may be refused for the same."""
        principal = exchange.principal
        if not self._is_open or principal is None or error.kind not in _CROWDS:
            return
        mark = self._mark(operation, scope)
        if mark is None:
            return
        limits, now = self._context.limits, self._context.clock.monotonic()
        limited = exchange.limited
        closed = limits.closed_for(limited) if limited is not None else 0.0
        asker = limits.asker(operation, scope, principal)
        tenant_id = principal.tenant_id if operation.is_start else None
        self._known.pop(mark, None)
        self._known[mark] = _Known(operation, asker, tenant_id, now, limited, closed, limits.state, limits.given_back)
        if len(self._known) > _MOST:
            self._known.popitem(last=False)

    def refusal(
        self, scope: Scope, first_headers: RawHeaders, data: bytes = b"", *, is_late: bool = False
    ) -> bytes | None:
        """The whole answer to a request that the pipeline would refuse; None if it is to be looked at as any other.

        ``is_late`` says that it has waited for too long already, ``data`` how the request began on the wire. Counted
        and logged like any other answer, but for the log line, which stands for all of a second.
        """
        if not self._is_open or not (self._known or is_late):
            return None
        now = self._context.clock.monotonic()
        known = self._find(scope, now, is_late=is_late)
        if known is None:
            return None
        has_key = any(name == _KEY for name, _ in scope["headers"])
        crowd = self._context.admission.refusal(known.asker) if is_late else self._crowd(known, has_key=has_key)
        if crowd is None and not self._is_full(known, now):
            return None
        told = self._answer(known, crowd, now, scope, first_headers)
        if data and not told.is_whole:
            until = (now if known.is_anybody else known.at) + REMEMBERED_SECONDS
            self._repeats.keep(_address_of(scope), data, scope["headers"], known, until, has_key=has_key)
        return self._tell(known, told, now)

    def refusal_again(self, address: str, data: bytes, *, is_late: bool = False) -> bytes | None:
        """Like ``refusal``, for a request that has not been read; None if its bytes do not say enough."""
        now = self._context.clock.monotonic() if self._is_open else 0.0
        repeat = self._repeats.find(address, data, now)
        if repeat is None:
            return None
        known = repeat.what
        if is_late:
            reason = self._context.admission.reason(known.asker)
        else:
            crowd = self._crowd(known, has_key=repeat.has_key)
            if crowd is None and not self._is_full(known, now):
                return None
            reason = _reason(crowd)
        written = known.templates.get(reason)
        return self._tell(known, written, now) if written is not None and now < written.until else None

    def _tell(self, known: _Known, told: Written, now: float) -> bytes:
        operation = known.operation
        self._tally.note(operation.method, operation.route, told.status, told.code, known.asker)
        seconds = self._context.clock.monotonic() - now
        self._context.telemetry.request_ended(operation.route, operation.method, told.status, seconds)
        return told.text if told.is_whole else self._templates.fill(told.text)

    def _answer(
        self, known: _Known, crowd: InterlockError | None, now: float, scope: Scope, first: RawHeaders
    ) -> Written:
        """The answer with this request's own ids, or the template of a moment ago."""
        is_whole = self._templates.is_named(scope)
        reason = _reason(crowd)
        written = known.templates.get(reason)
        if is_whole or written is None or now >= written.until:
            error, limited = (crowd, None) if crowd is not None else self._still_full(known, now)
            written = self._templates.write(known.operation, error, limited, scope, first)
            if not is_whole:
                known.templates[reason] = written
        return written

    def _find(self, scope: Scope, now: float, *, is_late: bool) -> _Known | None:
        while self._known and now - next(iter(self._known.values())).at > REMEMBERED_SECONDS:
            self._known.popitem(last=False)
        operation = self._find_operation(scope["method"], scope["path"])
        if operation is None:
            return None
        mark = self._mark(operation, scope)
        known = self._known.get(mark) if mark is not None else None
        return self._anybody(operation, scope) if known is None and is_late else known

    def _anybody(self, operation: Operation, scope: Scope) -> _Known | None:
        """A caller whom nobody has looked at; None for what is open to everybody, and for pages."""
        if operation.policy is Policy.OPEN or any(name in _CLOSER_LOOK for name, _ in scope["headers"]):
            return None
        which = operation.door.name, operation.method, operation.route
        if which not in self._anybodies:
            self._anybodies[which] = _Known(operation, None, None, 0.0, None, 0.0, "", 0)
        return self._anybodies[which]

    def _mark(self, operation: Operation, scope: Scope) -> Mark | None:
        """All that decides who calls; None without a credential, or for what needs a closer look."""
        who = []
        has_credential = False
        for name, value in scope["headers"]:
            if name in _WHO:
                has_credential = has_credential or name in _CREDENTIALS
                who.append(name + b":" + value)
            elif name in _CLOSER_LOOK:
                return None
        if not has_credential:
            return None
        who.append(_address_of(scope).encode())
        who.append(self._context.limits.client_of(scope).encode())
        # Header lines hold no line breaks, so that no two callers have one digest. Credentials are not kept.
        digest = blake2b(b"\n".join(who), digest_size=16).digest()
        return operation.door.name, operation.method, operation.route, digest

    def _crowd(self, known: _Known, *, has_key: bool) -> InterlockError | None:
        """Why there is no place for the caller now, in line or in its tenant's queue; None if there is."""
        in_line = self._context.admission.refusal_in_line(known.asker)
        if in_line is not None or known.tenant_id is None or has_key:
            return in_line
        return self._context.services.start_execution.refusal(known.tenant_id)

    def _is_full(self, known: _Known, now: float) -> bool:
        """Whether a window is still full; what another store has counted says nothing."""
        limits = self._context.limits
        return now < known.closed_until and known.state == limits.state and known.given_back == limits.given_back

    def _still_full(self, known: _Known, now: float) -> tuple[InterlockError, Limited]:
        assert known.limited is not None  # else nothing were full
        return self._context.limits.refused_later(known.limited, now - known.at)


def _address_of(scope: Scope) -> str:
    peer = scope.get("client")
    return peer[0] if peer else ""


def _reason(crowd: InterlockError | None) -> str:
    """What a template is kept by: a code alone has several meanings."""
    return crowd.message if crowd is not None else _FULL
