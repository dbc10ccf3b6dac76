"""Open streams end when what opened them is good no longer: a key revoked, a token over, a tenant shut out."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import structlog

from interlock.core.errors import ErrorKind, InterlockError, unavailable
from interlock.core.principal import Principal
from interlock.doors.http.plumbing.credentials import unauthenticated

if TYPE_CHECKING:
    from interlock.doors.http.plumbing.context import Context
    from interlock.doors.http.plumbing.trace import Exchange

TURN_SECONDS = 0.75
"""How often is looked; with the 4 s for which a verified key is believed, a revocation holds within 5 s."""
MOST_ERRORS = 5
"""A credential whose checks have failed so often in a row, for reasons nobody foresaw, is good no longer."""
_TURNS_PER_QUERY = 4  # of those that can only be checked in the database
_AT_ONCE = 32
_CHECK_SECONDS = 5.0

End = Callable[[InterlockError], None]

_log = structlog.get_logger("interlock.http")


class _Proof(NamedTuple):
    """What opened streams: streams with the same one are checked once."""

    principal: Principal
    credential: str
    ends_at: float | None


class Proofs:
    """The credentials behind the open streams of one server. Tasks check them while there are any.

    Each is checked at its own pace: a slow one delays no other, as long as fewer than ``_AT_ONCE`` are slow.
    """

    def __init__(self) -> None:
        self._ends: dict[_Proof, set[End]] = {}
        self._errors: Counter[_Proof] = Counter()
        self._task: asyncio.Task[None] | None = None

    def keep(self, context: Context, exchange: Exchange, principal: Principal, end: End) -> Callable[[], None]:
        """Call ``end``, once, when the credential of ``exchange`` holds no longer; what comes back stops the checks.

        A database that is away ends nothing: what cannot be checked now is checked as soon as it can. Errors that
        nobody foresaw end the streams when there are ``MOST_ERRORS`` of them in a row.
        """
        proof = _Proof(principal, exchange.credential, exchange.ends_at)
        self._ends.setdefault(proof, set()).add(end)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._check_on(context), name="proofs")
        return lambda: self._forget(proof, end)

    def _forget(self, proof: _Proof, end: End) -> None:
        ends = self._ends.get(proof)
        if ends is not None:
            ends.discard(end)
            if not ends:
                del self._ends[proof]
                del self._errors[proof]
        if not self._ends and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _check_on(self, context: Context) -> None:
        due: asyncio.Queue[tuple[_Proof, bool]] = asyncio.Queue()
        waiting: set[_Proof] = set()
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(self._check_due(context, due, waiting), name="proofs")
            turn = 0
            while True:
                await asyncio.sleep(TURN_SECONDS)
                turn += 1
                for proof in self._ends.keys() - waiting:
                    waiting.add(proof)
                    due.put_nowait((proof, turn % _TURNS_PER_QUERY == 0))

    async def _check_due(self, context: Context, due: asyncio.Queue[tuple[_Proof, bool]], waiting: set[_Proof]) -> None:
        while True:
            proof, may_query = await due.get()
            try:
                await self._check(context, proof, may_query=may_query)
            finally:
                waiting.discard(proof)

    async def _check(self, context: Context, proof: _Proof, *, may_query: bool) -> None:
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                is_whole = await _check(context, proof, may_query=may_query)
        except TimeoutError:
            _log.warning("credential of a stream not checked in time", subject=proof.principal.subject)
        except InterlockError as error:
            if error.kind not in (ErrorKind.UNAVAILABLE, ErrorKind.TIMEOUT):
                self._end(proof, error)
        except Exception:  # noqa: BLE001 - one credential's error must not end the checks of the others
            _log.exception("credential of a stream not checked", subject=proof.principal.subject)
            self._note_error(proof)
        else:
            if is_whole:
                del self._errors[proof]

    def _note_error(self, proof: _Proof) -> None:
        if proof not in self._ends:
            return
        self._errors[proof] += 1
        if self._errors[proof] >= MOST_ERRORS:
            self._end(proof, unavailable("The credential of this stream could not be checked; open it again"))

    def _end(self, proof: _Proof, error: InterlockError) -> None:
        del self._errors[proof]
        for end in self._ends.pop(proof, set()):
            try:
                end(error)
            except Exception:  # noqa: BLE001 - the other streams of this credential must end, too
                _log.exception("stream not ended", subject=proof.principal.subject)


async def _check(context: Context, proof: _Proof, *, may_query: bool) -> bool:
    """Raise UNAUTHENTICATED if the credential is good no longer. False if the database would have to be asked."""
    access = context.services.access
    access.gate.admit(proof.principal)
    if proof.ends_at is not None and context.clock.now().timestamp() >= proof.ends_at:
        raise unauthenticated("The token that opened this stream is over; open it again with a new one", "expired")
    if proof.credential:
        await context.services.identity.authenticate(proof.credential)
    elif proof.principal.key_id is not None:
        if not may_query:
            return False
        await access.key_identity.prove(proof.principal)
    return True
